class @CLASS@ < Formula
  desc "@DESCRIPTION@"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license any_of: [@LICENCES@]

@ARCHIVES@

  def install
    bin.install "@PROGRAM@"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/@PROGRAM@.bash" => "@PROGRAM@"
    zsh_completion.install "completions/_@PROGRAM@"
    fish_completion.install "completions/@PROGRAM@.fish"
    # What `@PROGRAM@ demo` converts.
    (share/"@PROGRAM@").install "facet-6m"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/@PROGRAM@ --version")
    assert_match "logits_hash", shell_output("#{bin}/@PROGRAM@ demo --json")
  end
end
