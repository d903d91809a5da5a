"""Unit tests, as plain Python: `python3 -m unittest`. `wasmill test` tests the component."""

import unittest

import wasmill
from handler import on_quake
from wasmill import testing


class Quakes(unittest.TestCase):
    def test_a_strong_one_is_published(self) -> None:
        ctx = testing.context()
        on_quake(testing.message("quakes", json={"magnitude": 6.1, "place": "Hualien"}), ctx)
        self.assertEqual(ctx.published[0].json(), {"magnitude": 6.1, "place": "Hualien"})
        self.assertEqual(ctx.published[0].key, "Hualien")

    def test_a_weak_one_is_counted(self) -> None:
        ctx = testing.context(config={"magnitude-min": "7"}, state={"seen": "2"})
        on_quake(testing.message("quakes", json={"magnitude": 6.1, "place": "Hualien"}), ctx)
        self.assertEqual((ctx.published, ctx.stored), ([], {"seen": b"3"}))

    def test_what_is_no_quake_is_rejected(self) -> None:
        for data in (b'{"place": "Tonga"}', b'{"magnitude": '):
            with self.assertRaisesRegex(wasmill.Reject, "not a quake: "):
                on_quake(testing.message("quakes", data), testing.context())
