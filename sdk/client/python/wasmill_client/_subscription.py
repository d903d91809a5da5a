"""Deliveries, as a program takes and settles them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Iterable

from ._errors import Refused, WasmillError
from ._messages import Delivery, Failure, Frame, ms
from ._publishing import refusal

if TYPE_CHECKING:
    from ._client import Client

SETTLEMENTS_MAX = 1_000
"""Settlements of one frame."""


class Subscription:
    """Deliveries of one consumer; made by :meth:`Client.subscribe`. Iterate over it to get lists of deliveries, oldest first."""

    def __init__(self, client: Client, name: int) -> None:
        self._client = client
        self._name = name
        # What waits here is bounded by the credit.
        self._incoming: asyncio.Queue[list[Delivery] | WasmillError | None] = asyncio.Queue()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> list[Delivery]:
        """Wait for deliveries. Ends when the client is closed; raises :class:`Refused` when the host ended the subscription, and
        :class:`Disconnected` when the connection breaks."""
        deliveries = await self._incoming.get()
        if deliveries is None:
            self._incoming.put_nowait(None)
            raise StopAsyncIteration
        if isinstance(deliveries, WasmillError):
            self._incoming.put_nowait(None)
            raise deliveries
        return deliveries

    async def ack(self, deliveries: Delivery | Iterable[Delivery]) -> None:
        """They are done. Durable when this returns.

        Raises the first :class:`Refused`, for instance with code ``stale-fence`` because its lease was over; the others are done
        all the same.
        """
        several = [deliveries] if isinstance(deliveries, Delivery) else deliveries
        await self._settle([[delivery.sequence, delivery.fence] for delivery in several])

    async def fail(self, delivery: Delivery, failure: Failure) -> None:
        """It failed so: :class:`Nack`, :class:`Defer` or :class:`Reject`. Durable when this returns."""
        await self._settle([[delivery.sequence, delivery.fence, failure.frame()]])

    async def extend(self, deliveries: Delivery | Iterable[Delivery], lease: timedelta) -> None:
        """Hold them for so long from now on."""
        several = [deliveries] if isinstance(deliveries, Delivery) else list(deliveries)
        leases = [[delivery.sequence, delivery.fence] for delivery in several]
        more = {"subscription": self._name, "lease_ms": ms(lease)}
        await self._each("extend", "leases", leases, more)

    async def _settle(self, settlements: list[list[Any]]) -> None:
        await self._each("settle", "settlements", settlements, {"subscription": self._name})

    async def _each(self, kind: str, name: str, items: list[list[Any]], more: Frame) -> None:
        refused: Refused | None = None
        for start in range(0, len(items), SETTLEMENTS_MAX):
            part = items[start : start + SETTLEMENTS_MAX]
            exceptions = await self._client._request(
                lambda request, part=part: {kind: {"request": request, name: part, **more}}  # type: ignore[misc]
            )
            for _, exception in exceptions:
                refused = refused or refusal(exception)
        if refused is not None:
            raise refused

    def _put(self, deliveries: list[Frame]) -> None:
        self._incoming.put_nowait([Delivery.of_frame(frame) for frame in deliveries])

    def _end(self, why: WasmillError | None) -> None:
        self._incoming.put_nowait(why)
