//! The HTTP API over real sockets, with a real host on a store of its own for each test.

mod http {
    mod cloudevents;
    mod consumers;
    mod handlers;
    mod harness;
    mod ndjson;
    mod probes;
    mod publish;
    mod quarantine;
    mod queues;
}
