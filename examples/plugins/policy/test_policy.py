import unittest

from policy import image_failures, license_failure, parsed


class Images(unittest.TestCase):
    def test_a_reference_is_read_as_docker_reads_it(self):
        digest = "sha256:" + "a" * 64
        for reference, expected in [
            ("nginx", ("docker.io", "library/nginx", "", "")),
            ("team/app:1", ("docker.io", "team/app", "1", "")),
            ("localhost/app", ("localhost", "app", "", "")),
            ("registry.example.com:5000/team/app:1", ("registry.example.com:5000", "team/app", "1", "")),
            (f"quay.io/a/b:1@{digest}", ("quay.io", "a/b", "1", digest)),
        ]:
            self.assertEqual(parsed(reference), expected)

    def test_registries_are_held_to_whole_names(self):
        configuration = {"registries": ["quay.io/team", "registry.example.com"]}
        for reference, count in [
            ("quay.io/team/app:1", 0),
            ("quay.io/teammate/app:1", 1),
            ("registry.example.com/app:1", 0),
            ("registry.example.com.evil.org/app:1", 1),
            ("nginx:1", 1),
        ]:
            self.assertEqual(len(image_failures(reference, configuration)), count, reference)

    def test_mutable_tags_are_refused(self):
        codes = lambda reference, configuration: [code for code, _ in image_failures(reference, configuration)]
        self.assertEqual(codes("nginx", {}), ["mutable-tag"])
        self.assertEqual(codes("nginx:main", {}), ["mutable-tag"])
        self.assertEqual(codes("nginx:1.27", {}), [])
        self.assertEqual(codes("nginx:1.27", {"require_digest": True}), ["digest"])
        self.assertEqual(codes("nginx:latest@sha256:" + "a" * 64, {"require_digest": True}), [])
        self.assertEqual(codes("nginx:1@sha256:beef", {}), ["digest"])


class Licenses(unittest.TestCase):
    def test_an_expression_is_allowed_by_its_parts(self):
        allowed = ["Apache-2.0", "MIT", "GPL-2.0-only WITH Classpath-exception-2.0"]
        for expression, is_allowed in [
            ("Apache-2.0", True),
            ("apache-2.0", True),
            ("BUSL-1.1", False),
            ("MIT OR BUSL-1.1", True),
            ("MIT AND BUSL-1.1", False),
            ("(MIT OR BUSL-1.1) AND Apache-2.0", True),
            ("GPL-2.0-only WITH Classpath-exception-2.0", True),
            ("GPL-2.0-only", False),
            ("", False),
            ("MIT Apache-2.0", False),
            ("(MIT", False),
            ("MIT WITH", False),
        ]:
            self.assertEqual(license_failure(expression, allowed) is None, is_allowed, expression)


if __name__ == "__main__":
    unittest.main()
