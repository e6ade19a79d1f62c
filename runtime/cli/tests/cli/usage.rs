//! What is refused before anything is opened, with exit code 2; the help.

use crate::support::{carat, checkpoint, failure};

#[test]
fn wrong_values() {
    for args in [
        "run m -p a --temp nan",
        "run m -p a --temp -1",
        "run m -p a --top-p 2",
        "run m -p a --min-p x",
        "run m -p a --repeat-penalty 0",
        "run m -p a --top-k -2",
        "run m -p a --seed -2",
        "run m -p a --seed x",
        "run m -p a --dry-multiplier -1",
        "run m -p a --dry-base 0.5",
        "run m -p a --dry-allowed-length 0",
        "run m -p a --dry-penalty-last-n -2",
        "run m -p a --presence-penalty nan",
        "run m -p a --frequency-penalty inf",
        "run m -p a --top-nsigma -2",
        "run m -p a --typical 1.5",
        "run m -p a --xtc-probability -1",
        "run m -p a --xtc-threshold 2",
        "run m -p a --dynatemp-range -1",
        "run m -p a --dynatemp-exp x",
        "run m -p a --mirostat 1",
        "run m -p a --mirostat-ent -1",
        "run m -p a --mirostat-lr nan",
        "run m -p a --adaptive-target 2",
        "run m -p a --adaptive-decay 1",
        "run m -p a --json --stream-json",
        "run m -p a --device foo",
        "run m -p a --device gpu:",
        "run m -p a --threads 0",
        "run m -p a --ctx -1",
        "run m -p a -n -2",
        "run m -p a -n many",
        "run m -p a -f b",
        "run m -p a -",
        "run m",
        "run m a b",
        "run m a -p b",
        "run m a -f b",
        "run m --verbose",
        "run",
        "convert a",
        "convert a -o b --bits 7",
        "convert a -o b --bits 4.0",
        "convert a -o b --group 48",
        "convert a -o b --tensor ffn_down",
        "convert a -o b --tensor ffn_down=7",
        "convert a -o b --tensor ffn_(=4",
        "convert a -o b --method none,gptq",
        "convert a -o b --method none --method cd",
        "convert a -o b --method none --calib self",
        "convert a -o b --method none --preset best-3",
        "convert a -o b --method none --target-bpw 3",
        "convert a -o b --method none --target-size 1GB",
        "logits m",
        "logits m --tokens 1,,2",
        "logits m --tokens a",
        "logits m --tokens -1",
        "logits m --tokens 4294967296",
        "eval m",
        "eval m --text t --ctx 3",
        "eval m --text t --chunks 0",
        "inspect",
        "inspect m --colour",
        "quantize m",
        "bench",
        "bench m --pp 0",
        "bench m --tg 0",
        "bench m -r 0",
        "bench m --threads 0",
        "bench m --device foo",
        "doctor m n",
        "doctor --device cpu",
    ] {
        failure(carat().args(args.split(' ')), 2);
    }
    failure(carat().args(["run", "m", "-p", "a", "--stop", ""]), 2);
    failure(carat().arg("inspect").arg(checkpoint()).arg("--verify"), 2);
    assert_eq!(
        carat().output().unwrap().status.code(),
        Some(2),
        "no command"
    );
}

#[test]
fn every_help_has_an_example() {
    for command in [
        "",
        "demo",
        "convert",
        "run",
        "eval",
        "compare",
        "logits",
        "inspect",
        "bench",
        "doctor",
        "embed",
        "chat",
        "template",
        "tokenize",
        "completions",
        "man",
        "cache list",
    ] {
        for flag in ["--help", "-h"] {
            let mut c = carat();
            if !command.is_empty() {
                c.args(command.split(' '));
            }
            let output = c.arg(flag).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && output.stderr.is_empty());
            assert!(
                text.contains("Example: ") && text.contains("carat "),
                "{command}: {text}"
            );
            assert!(
                text.lines().all(|l| l.chars().count() <= 80),
                "{command}: {text}"
            );
        }
    }
    carat().arg("--version").assert().success();
}
