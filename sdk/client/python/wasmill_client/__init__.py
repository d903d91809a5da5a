"""Publish to a Wasmill host, and take deliveries from it, over one stream.

    import asyncio
    from wasmill_client import connect

    async def main():
        async with connect("http://127.0.0.1:7500") as client:
            await client.publish("orders.created", b'{"order": 7}', key="customer-3")
            async with client.subscribe("orders", "billing", credit=1000) as deliveries:
                async for batch in deliveries:
                    for delivery in batch:
                        print(delivery.topic, len(delivery.data))
                    await deliveries.ack(batch)

    asyncio.run(main())

Many calls may wait at once (``asyncio.gather``): messages that are published in one turn of the event loop leave together, in the
order of the calls. Many messages are published quickest in one call: :meth:`Client.publish_all` with a list of
:class:`Outgoing`. An answer means that the message is durable, or that the delivery is settled durably. When the connection
breaks, everything that waits raises :class:`Disconnected`, and ``publish_all`` answers it for each message; whether it was
carried out is not known then, so publish it again with the same ``id``, which the host does not take twice.
"""

from ._client import Client, connect
from ._errors import Disconnected, Refused, TooLarge, WasmillError
from ._messages import Defer, Delivery, Failure, Nack, Outgoing, Published, Reject
from ._subscription import Subscription

__all__ = [
    "Client",
    "Defer",
    "Delivery",
    "Disconnected",
    "Failure",
    "Nack",
    "Outgoing",
    "Published",
    "Refused",
    "Reject",
    "Subscription",
    "TooLarge",
    "WasmillError",
    "connect",
]
