"""That the checks find what is wrong: python3 tools/release/test.py."""

import sys
import unittest

sys.dont_write_bytecode = True
import homebrew  # noqa: E402
import pack  # noqa: E402
import sbom  # noqa: E402
import winget  # noqa: E402
from pack import Entry  # noqa: E402


class Winget(unittest.TestCase):
    def setUp(self):
        common = {"PackageIdentifier": "A.B", "PackageVersion": "1.2.3", "ManifestVersion": "1.6.0"}
        self.installer = {
            "Architecture": "x64",
            "InstallerUrl": "https://example.org/a.zip",
            "InstallerSha256": "0123456789ABCDEF" * 4,
        }
        self.manifest = {
            **common,
            "ManifestType": "installer",
            "InstallerType": "zip",
            "NestedInstallerType": "portable",
            "Installers": [self.installer],
        }

    def found(self):
        return list(winget.problems("installer", self.manifest))

    def test_a_whole_manifest_has_no_problem(self):
        self.assertEqual(self.found(), [])

    def test_whatever_is_missing_is_found(self):
        for part in (self.manifest, self.installer):
            for field in list(part):
                kept = part.pop(field)
                self.assertTrue(self.found(), field)
                part[field] = kept

    def test_wrong_values_are_found(self):
        for field, wrong in (("InstallerSha256", "12"), ("InstallerUrl", "http://example.org/a.zip")):
            kept, self.installer[field] = self.installer[field], wrong
            self.assertTrue(self.found(), field)
            self.installer[field] = kept
        # A version that YAML reads as a number.
        self.manifest["PackageVersion"] = 1.2
        self.assertTrue(self.found())


class Homebrew(unittest.TestCase):
    def test_descriptions(self):
        text = '  desc "{}"\n  homepage\n  version\n  license\n  def install\n  test do\n'
        self.assertEqual(list(homebrew.problems(text.format("Language models"))), [])
        for wrong in ("A language model", "Carat runs", "Ends.", "x" * 81):
            self.assertTrue(list(homebrew.problems(text.format(wrong))), wrong)
        self.assertTrue(list(homebrew.problems(text.format("Language models").replace("  test do\n", ""))))


class Sbom(unittest.TestCase):
    def test_references_to_nothing_are_found(self):
        part = lambda ref: {"type": "library", "bom-ref": ref, "name": ref, "version": "1", "licenses": [{}]}
        bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": part("a")}}
        bill |= {"components": [part("b")], "dependencies": [{"ref": "a", "dependsOn": ["b"]}]}
        self.assertEqual(list(sbom.problems(bill)), [])
        bill["dependencies"][0]["dependsOn"].append("c")
        self.assertTrue(list(sbom.problems(bill)))


class Pack(unittest.TestCase):
    def test_bytes_depend_on_contents_alone(self):
        tree = {"b/c": Entry(b"1"), "a": Entry(b"2", 0o755)}
        turned = dict(reversed(tree.items()))
        for packed in (pack.tar_gz, pack.zipped):
            self.assertEqual(packed(tree, 1_700_000_000), packed(turned, 1_700_000_000))
            self.assertNotEqual(packed(tree, 1_700_000_000), packed({**tree, "a": Entry(b"2")}, 1_700_000_000))
        self.assertEqual(list(pack.with_parents(tree)), ["a", "b", "b/c"])


if __name__ == "__main__":
    unittest.main()
