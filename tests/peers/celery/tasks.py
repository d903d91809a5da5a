"""The tasks of Celery's worker: the same work as the other consumers do. What was handled is marked in a file that the
benchmark reads: one byte for each message, raised each time the message is handled."""

import json
import mmap
import os
import pathlib

from celery import Celery
from celery.signals import worker_ready

app = Celery("peers", broker=os.environ["PEERS_BROKER"])
app.conf.update(
    task_default_queue="work",
    task_ignore_result=True,
    task_acks_late=os.environ["PEERS_MODE"] == "durable",
    # Celery's guide to optimising recommends a high multiplier for short tasks.
    worker_prefetch_multiplier=128,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
)

NUMBER = slice(6, 15)
_seen = None


def mark(data):
    global _seen
    if _seen is None:
        with open(os.environ["PEERS_SEEN"], "r+b") as file:
            _seen = mmap.mmap(file.fileno(), 0)
    _seen[int(data[NUMBER])] += 1


@app.task(name="nothing")
def nothing(data):
    mark(data)


@app.task(name="forward")
def forward(data):
    order = json.loads(data)
    receipt = {
        "n": order["n"],
        "kind": order["kind"],
        "double": order["amount"] * 2.0,
        "text_length": len(order["text"]),
    }
    app.send_task("receipt", (json.dumps(receipt),), queue="out")
    mark(data)


@worker_ready.connect
def tell(**_):
    pathlib.Path(os.environ["PEERS_READY"]).touch()
