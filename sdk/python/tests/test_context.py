"""What a handler does."""

import unittest
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import wasmill
import wasmill.http
from wasmill import testing
from wasmill._batches import one_each, outcome


@dataclass
class Alert:
    place: str


class Publishing(unittest.TestCase):
    def test_a_message_with_everything(self) -> None:
        ctx = testing.context()
        ctx.publish("a", json=Alert("Ñ"), key="k", headers={"H": "v"}, delay=timedelta(hours=1), expires_after=1.5)
        published = ctx.published[0]
        self.assertEqual((published.data, published.content_type), ('{"place":"Ñ"}'.encode(), "application/json"))
        self.assertEqual((published.key, published.headers), ("k", (("h", "v"),)))
        self.assertEqual((published.delay_ms, published.expires_after_ms), (3_600_000, 1500))

    def test_kinds_of_data(self) -> None:
        ctx = testing.context()
        ctx.publish("a", b"\x00")
        ctx.publish("a", text="t")
        ctx.publish("a", json=None)
        ctx.publish("a", json=[], content_type="application/x+json")
        self.assertEqual([each.data for each in ctx.published], [b"\x00", b"t", b"null", b"[]"])
        self.assertEqual(
            [each.content_type for each in ctx.published], [None, "text/plain", "application/json", "application/x+json"]
        )
        with self.assertRaises(TypeError):
            ctx.publish("a", b"x", text="x")
        with self.assertRaises(ValueError):
            ctx.publish("a", delay=-1)
        with self.assertRaises(ValueError):
            ctx.publish("a", json=float("nan"))

    def test_what_cannot_be_published(self) -> None:
        ctx = testing.context()
        for topic in ("", "a..b", "a.*", "#", "a b", "x" * 256, "$sys.x"):
            with self.subTest(topic), self.assertRaises(wasmill.InvalidTopic):
                ctx.publish(topic)
        for headers in ([("a", "b")] * 65, [("a", "x" * 16_384)]):
            with self.assertRaises(wasmill.InvalidMessage):
                ctx.publish("a", headers=headers)
        with self.assertRaises(wasmill.InvalidMessage):
            ctx.publish("a", key="")
        with self.assertRaises(wasmill.TooLarge) as raised:
            ctx.publish("a", b"x" * (1024 * 1024 + 1))
        self.assertEqual((raised.exception.code, raised.exception.bytes_max), ("too-large", 1024 * 1024))
        self.assertEqual(ctx.published, [])


class States(unittest.TestCase):
    def test_like_a_dict_as_far_as_it_is_one(self) -> None:
        state = testing.context(state={"a": "1"}).state
        state["b"] = b"2"
        self.assertEqual((state["b"], "b" in state, "c" in state, list(state)), (b"2", True, False, ["a", "b"]))
        with self.assertRaises(KeyError):
            state["c"]
        state.delete("a")
        state.delete("a")
        self.assertEqual((state.get("a"), state.get("a", b"-"), state.get_text("b")), (None, b"-", "2"))

    def test_json_and_counters(self) -> None:
        state = testing.context().state
        state.set_json("j", Alert("x"))
        self.assertEqual(state.get_json("j", shape=Alert), Alert("x"))
        self.assertEqual(state.get_json("none", []), [])
        state.increment("n")
        state.increment("n", -3)
        self.assertEqual(state.get_int("n"), -2)
        state.increment("n", -(2**63))
        self.assertEqual(state.get_int("n"), -(2**63))
        with self.assertRaises(wasmill.NotAnInteger):
            state.increment("j")

    def test_pages(self) -> None:
        state = testing.context(state={f"k{number:04}": "" for number in range(2500)} | {"other": ""}).state
        page = state.page("k")
        self.assertEqual((len(page.keys), page.next), (1000, "k0999"))
        self.assertEqual(len(list(state.keys("k"))), 2500)
        self.assertEqual(state.page("", "k2499"), wasmill.KeyPage(["other"], None))

    def test_limits(self) -> None:
        state = testing.context().state
        for key in ("", "x" * 256):
            with self.assertRaises(wasmill.InvalidKey):
                state.get(key)
        state.set("k", b"x" * 1024 * 1024)
        with self.assertRaises(wasmill.TooLarge):
            state.set("k", b"x" * (1024 * 1024 + 1))


class Configs(unittest.TestCase):
    def test_values(self) -> None:
        config = testing.context(config={"n": "1.5", "on": "true", "i": "3", "bad": "x"}, secrets={"S": "s"}).config
        self.assertEqual((config.float("n", 0), config.int("i", 0), config.bool("on"), config.bool("off")), (1.5, 3, True, False))
        self.assertEqual((config["S"], config.get("none", "-"), sorted(config)), ("s", "-", ["bad", "i", "n", "on"]))
        for read in (lambda: config.float("bad", 0), lambda: config.bool("bad"), lambda: config.require("none")):
            with self.assertRaises(wasmill.ConfigError):
                read()


class Outcomes(unittest.TestCase):
    def test_of_a_call(self) -> None:
        def fail() -> None:
            raise ValueError("the answer was 41")

        failure = outcome(fail)
        assert isinstance(failure, wasmill.Retry)
        self.assertEqual(failure.reason, "ValueError: the answer was 41")
        self.assertIsNone(outcome(lambda: None))
        self.assertEqual(wasmill.Retry("r", after=timedelta(minutes=1)).after_ms, 60_000)

    def test_memory_and_exits_are_left_to_the_host(self) -> None:
        for kind in (MemoryError, SystemExit):

            def fail(kind: type[BaseException] = kind) -> None:
                raise kind

            with self.assertRaises(kind):
                outcome(fail)

    def test_batches(self) -> None:
        def on_each(delivery: wasmill.Delivery) -> None:
            if delivery.message.text == "bad":
                raise wasmill.Reject("bad")

        def on_batch(deliveries: Sequence[wasmill.Delivery], ctx: wasmill.BatchContext) -> Sequence[wasmill.Failure | None]:
            ctx.state.increment("seen", len(deliveries))
            return wasmill.each(deliveries, on_each)

        ctx = testing.batch_context()
        outcomes = on_batch([testing.delivery(testing.message("t", text=text)) for text in ("good", "bad")], ctx)
        self.assertIsNone(outcomes[0])
        self.assertIsInstance(outcomes[1], wasmill.Reject)
        self.assertEqual(ctx.stored, {"seen": b"2"})

    def test_a_batch_has_one_outcome_for_each_delivery_or_none_at_all(self) -> None:
        reject = wasmill.Reject("bad")
        self.assertEqual(one_each(None, 2), [None, None])
        self.assertEqual(one_each([None, reject], 2), [None, reject])
        returned: list[Sequence[wasmill.Failure | None]] = [[], [None], [reject, None, None]]
        for outcomes in returned:
            words = f"{len(outcomes)} outcomes for 2 deliveries"
            with self.subTest(words), self.assertRaisesRegex(wasmill.Retry, words):
                one_each(outcomes, 2)


class Http(unittest.TestCase):
    def test_requests_are_answered_by_the_test(self) -> None:
        def answer(request: wasmill.http.Request) -> wasmill.http.Response:
            return wasmill.http.Response(429, (("retry-after", "2"),), request.body)

        with testing.http(answer) as sent:
            response = wasmill.http.request("post", "https://example.com/", json={"a": 1}, headers={"X-A": "b"}, timeout=1)
        expected = (("x-a", "b"), ("content-type", "application/json"), ("content-length", "7"))
        self.assertEqual(sent[0].headers, expected)
        self.assertEqual((sent[0].method, sent[0].timeout_ms), ("POST", 1000))
        self.assertEqual((response.json(), response.retry_after()), ({"a": 1}, 2.0))
        with self.assertRaisesRegex(wasmill.http.StatusError, "429"):
            response.raise_for_status()

    def test_there_is_no_network_without(self) -> None:
        with self.assertRaises(wasmill.http.HttpError):
            wasmill.http.request("GET", "https://example.com/")
