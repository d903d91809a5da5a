"""Counts every earthquake, and publishes an alert for the strong ones."""

from dataclasses import dataclass

import wasmill


@dataclass
class Quake:
    magnitude: float | None
    place: str


@wasmill.handler
def on_quake(message: wasmill.Message, ctx: wasmill.Context) -> None:
    try:
        quake = message.json(Quake)
    except wasmill.BadData as error:
        raise wasmill.Reject(f"not a quake: {error}") from error
    ctx.state.increment("seen")
    magnitude = quake.magnitude or 0.0
    if magnitude >= ctx.config.float("magnitude-min", 5.0):
        print(f"magnitude {magnitude}: {quake.place}")
        ctx.publish("alerts", json={"magnitude": magnitude, "place": quake.place}, key=quake.place)
