"""What a handler reads."""

import unittest
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any, Literal, NotRequired, TypedDict

import wasmill
from wasmill import testing


class Kind(Enum):
    QUAKE = "quake"
    BLAST = "blast"


@dataclass
class Place:
    name: str
    depth: float = 0.0


@dataclass
class Quake:
    magnitude: float | None
    places: list[Place]
    kind: Kind = Kind.QUAKE
    tags: dict[str, int] = field(default_factory=dict)
    checked: bool = False


class Row(TypedDict):
    id: int
    note: NotRequired[str]


class Messages(unittest.TestCase):
    def test_json_becomes_dataclasses(self) -> None:
        data = {"magnitude": 6, "places": [{"name": "Suva"}], "kind": "blast", "tags": {"a": 1}, "other": [1]}
        quake = testing.message("quakes", json=data).json(Quake)
        self.assertEqual(quake, Quake(6.0, [Place("Suva")], Kind.BLAST, {"a": 1}))
        self.assertIsInstance(quake.magnitude, float)

    def test_what_has_another_shape_is_rejected_with_the_place(self) -> None:
        places: Any = [{"name": "Suva"}]
        cases: list[tuple[Any, str]] = [
            ({"magnitude": 1, "places": [{"name": "a"}, {}]}, "places[1].name is missing"),
            ({"magnitude": "x", "places": []}, "magnitude is 'x', and should be a number or null"),
            ({"magnitude": True, "places": []}, "magnitude is true, and should be a number or null"),
            ({"places": []}, "magnitude is missing"),
            ([], "the data is a list, and should be an object"),
            ({"magnitude": 1, "places": places, "kind": "?"}, "kind is '?', and should be 'quake' or 'blast'"),
            ({"magnitude": 1, "places": places, "tags": {"a": 1.5}}, "tags.a is 1.5, and should be an integer"),
            ({"magnitude": 1, "places": places, "checked": 1}, "checked is 1, and should be a boolean"),
            ({"magnitude": 1, "places": {"name": "x"}}, "places is an object, and should be a list"),
        ]
        for data, reason in cases:
            with self.subTest(reason), self.assertRaises(wasmill.BadData) as raised:
                testing.message("quakes", json=data).json(Quake)
            self.assertEqual(raised.exception.reason, reason)

    def test_other_shapes(self) -> None:
        rows = testing.message("rows", json=[{"id": 1, "note": "a"}, {"id": 2}]).json(list[Row])
        self.assertEqual(rows[1]["id"], 2)
        with self.assertRaisesRegex(wasmill.BadData, r"\[0\].id is missing"):
            testing.message("rows", json=[{}]).json(list[Row])
        self.assertEqual(testing.message("n", json="up").json(Literal["up", "down"]), "up")  # type: ignore[call-overload]
        with self.assertRaises(TypeError):
            testing.message("n", json="x").json(datetime)

    def test_broken_data_is_rejected(self) -> None:
        not_json = (b'{"a": ', b"", b"\xff", b"[" * 100_000, b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"1" * 5_000)
        for data in not_json:
            with self.subTest(data[:9]), self.assertRaisesRegex(wasmill.Reject, "the data is not JSON: "):
                testing.message("quakes", data).json()
        with self.assertRaisesRegex(wasmill.Reject, "the data is not text: "):
            _ = testing.message("quakes", b"a\xff").text
        self.assertEqual(testing.message("quakes", text="Grüße 👩‍👩‍👧‍👦").text, "Grüße 👩‍👩‍👧‍👦")

    def test_a_number_that_no_float_can_hold_is_rejected(self) -> None:
        for number in ("1" + "0" * 400, "-1" + "0" * 400, "1e999"):
            with self.subTest(number[:9]), self.assertRaisesRegex(wasmill.BadData, "depth is .*, and should be a number of"):
                testing.message("places", f'{{"name": "a", "depth": {number}}}'.encode()).json(Place)
        self.assertEqual(testing.message("n", b"1" + b"0" * 400).json(int), 10**400)

    def test_headers_repeat(self) -> None:
        message = testing.message("t", headers=[("B", "1"), ("a", "2"), ("b", "3")])
        self.assertEqual(message.headers, (("b", "1"), ("a", "2"), ("b", "3")))
        self.assertEqual((message.header("b"), message.header("c"), message.header("c", "-")), ("1", None, "-"))
        self.assertEqual(list(message.header_values("B")), ["1", "3"])

    def test_cloud_events(self) -> None:
        time = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
        event = wasmill.CloudEvent(id="1", source="/s", type="t", subject="x", time=time, extensions={"partitionkey": "k"})
        message = testing.message("t", json=1, headers=event.headers())
        read = message.cloud_event
        assert read is not None
        self.assertEqual((read.id, read.time, read.subject, read.extensions), ("1", time, "x", {"partitionkey": "k"}))
        self.assertEqual(read.datacontenttype, "application/json")
        self.assertIsNone(testing.message("t", headers={"ce-id": "1"}).cloud_event)

    def test_cloud_events_that_are_one_json_object(self) -> None:
        def event(more: Any, content_type: str = "application/cloudevents+json; charset=utf-8") -> wasmill.CloudEvent | None:
            members = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": None} | more
            return testing.message("t", json=members, content_type=content_type).cloud_event

        read = event({"data": {"a": [1.5, "ä"]}, "tenant": 7, "time": "2026-01-01T12:00:00Z"})
        assert read is not None
        self.assertEqual((read.id, read.source, read.type, read.subject), ("1", "/s", "t", None))
        self.assertEqual(read.time, datetime(2026, 1, 1, 12, tzinfo=timezone.utc))
        self.assertEqual((read.extensions, read.datacontenttype), ({"tenant": "7"}, None))
        self.assertEqual(read.data, '{"a":[1.5,"ä"]}'.encode())
        cases: list[tuple[dict[str, Any], bytes]] = [
            ({}, b""),
            ({"data": None}, b""),
            ({"data": "x"}, b'"x"'),
            ({"data": "x", "datacontenttype": "text/plain"}, b"x"),
            ({"data_base64": "AP8=", "datacontenttype": "application/octet-stream"}, b"\x00\xff"),
        ]
        for more, data in cases:
            with self.subTest(more):
                self.assertEqual(getattr(event(more), "data", None), data)
        all_broken: list[dict[str, Any]] = [{"data_base64": "?"}, {"data_base64": 1}, {"tenant": [1]}, {"source": {}}]
        for broken in all_broken:
            with self.subTest(broken), self.assertRaises(wasmill.BadData):
                event(broken)
        self.assertIsNone(event({"source": None}))
        self.assertIsNone(event({}, content_type="application/json"))
        self.assertIsNone(testing.message("t", b"[]", content_type="application/cloudevents+json").cloud_event)
        with self.assertRaises(wasmill.BadData):
            _ = testing.message("t", b"{", content_type="application/cloudevents+json").cloud_event
        binary = testing.message("t", text="x", headers=wasmill.CloudEvent(id="1", source="/s", type="t").headers()).cloud_event
        self.assertEqual(getattr(binary, "data", None), b"x")
