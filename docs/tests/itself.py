"""That the runner notices: what is no longer as a page says must not pass."""

import unittest

from pages import Deviation, blocks, commands, compare


class Itself(unittest.TestCase):
    def test_an_ellipsis_stands_for_what_is_not_told(self):
        for said, wanted in [
            ("a\nb\n", ["a", "b"]),
            ("a\r\nb", ["a", "b"]),
            ("x\ny\nb\n", ["…", "b"]),
            ("b\n", ["…", "b", "…"]),
            ("age 4 s, id 7\n", ["age …, id 7"]),
            ("", []),
            ("anything\n", ["…"]),
        ]:
            compare(said, wanted)

    def test_anything_else_is_a_deviation(self):
        for said, wanted in [
            ("a\n", []),
            ("", ["a"]),
            ("a\nc\n", ["a", "b"]),
            ("a\nb\nc\n", ["a", "b"]),
            ("b c\n", ["…", "b"]),
            ("age 4 s, id 8\n", ["age …, id 7"]),
            ("axb\n", ["a.b"]),
        ]:
            with self.assertRaises(Deviation, msg=(said, wanted)):
                compare(said, wanted)

    def test_a_mark_belongs_to_the_fence_below_it(self):
        page = "<!-- run: fails -->\n```console\n$ a\nsaid\n$ b\n```\n\n```sh\nc\nd\n```\n<!-- run: fails -->\n\n```toml\n```\n"
        first, second, third = blocks(page)
        self.assertEqual((first[1], first[2], commands(first[1], first[3])), ("console", "fails", [("a", ["said"]), ("b", [])]))
        self.assertEqual((second[2], commands(second[1], second[3])), ("", [("c\nd", None)]))
        self.assertEqual(third[2], "", "an empty line parts them")
        with self.assertRaises(Deviation):
            commands("console", ["no command"])


if __name__ == "__main__":
    unittest.main()
