import unittest

from listing import listed


class Listed(unittest.TestCase):
    def test_every_image_is_a_line(self):
        self.assertEqual(listed("Images", ["a:1"]), "Images\n\n- a:1\n")


if __name__ == "__main__":
    unittest.main()
