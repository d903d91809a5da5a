//! The HTTP API over real sockets, with a real host on a store of its own for each test.

mod http {
    mod bulk;
    mod cloudevents;
    mod consumers;
    mod handlers;
    mod harness;
    mod idempotency;
    mod jobs;
    mod ndjson;
    mod order;
    mod priorities;
    mod probes;
    mod publish;
    mod pull;
    mod quarantine;
    mod queues;
    mod request;
    mod rooms;
    mod schedules;
    mod stream;
    mod stream_bounds;
    mod stream_frames;
    mod timing;
    mod why;
}
