"""A publisher that stays: each line of its input is `TASK BYTES BEGIN END`, and is answered by `done`. Celery has no
pipelined publish, so that one message at a time is on its way, over a connection that stays."""

import json
import sys

import tasks


def template(data_bytes):
    order = {"n": "000000000", "kind": "peer", "amount": 12.5, "text": ""}
    shortest = len(json.dumps(order, separators=(",", ":")))
    order["text"] = "x" * (data_bytes - shortest)
    return json.dumps(order, separators=(",", ":"))[15:]


with tasks.app.producer_pool.acquire(block=True) as producer:
    print("ready", flush=True)
    for line in sys.stdin:
        task, data_bytes, begin, end = line.split()
        send, rest = tasks.app.tasks[task].apply_async, template(int(data_bytes))
        for number in range(int(begin), int(end)):
            send((f'{{"n":"{number:09}{rest}',), producer=producer)
        print("done", flush=True)
