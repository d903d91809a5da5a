//! What one delivery costs: on a warm instance, and on a fresh one.
//!
//! Measures a guest in the text format, and `target/guests/guest-noop.wasm` as well when it is there.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{fs, path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use common::{
    guest::{Guest, OK},
    host::{Host, delivery},
};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};
use wasmill_delivery::{input::AttemptResult, record::HandlerLimits};
use wasmill_sandbox::{Delivery, HandlerContext, Program, Session, StagedState};

const NOOP: &str = "../../target/guests/guest-noop.wasm";

/// A message of 256 bytes with a key, a content type and two headers.
fn delivery_of_256_bytes() -> Delivery {
    let mut delivery = delivery(1, 1);
    Arc::make_mut(&mut delivery.message).data = Bytes::from(vec![b'x'; 256]);
    delivery
}

fn run(runtime: &Runtime, session: &mut Session, delivery: &Delivery) {
    let attempt = runtime.block_on(session.run(delivery, &mut StagedState::default()));
    assert!(matches!(attempt.result, AttemptResult::Succeeded(_)), "{attempt:?}");
}

fn measure(criterion: &mut Criterion, name: &str, host: &Host, program: &Arc<Program>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let delivery = delivery_of_256_bytes();
    for (kind, instance_calls_max) in [("warm", u32::MAX), ("fresh", 1)] {
        let context = HandlerContext { limits: host.limits, ..host.context() };
        let limits = HandlerLimits { instance_calls_max, ..context.limits };
        let mut session = Session::new(Arc::clone(program), Arc::new(HandlerContext { limits, ..context }));
        criterion.bench_function(&format!("{name}/{kind}"), |bencher| {
            bencher.iter(|| run(&runtime, &mut session, &delivery));
        });
    }
}

/// A fresh instance per delivery on two threads at once: what both together take for one each.
fn measure_two_threads(criterion: &mut Criterion, name: &str, host: &Host, program: &Arc<Program>) {
    let delivery = delivery_of_256_bytes();
    let limits = HandlerLimits { instance_calls_max: 1, ..host.limits };
    let context = Arc::new(HandlerContext { limits, ..host.context() });
    criterion.bench_function(&format!("{name}/fresh, two threads, each"), |bencher| {
        bencher.iter_custom(|times| {
            let work = || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                let mut session = Session::new(Arc::clone(program), Arc::clone(&context));
                let started = Instant::now();
                (0..times).for_each(|_| run(&runtime, &mut session, &delivery));
                started.elapsed()
            };
            std::thread::scope(|scope| {
                let other = scope.spawn(work);
                let mine = work();
                mine.max(other.join().unwrap())
            })
        });
    });
}

fn calls(criterion: &mut Criterion) {
    let host = Host::new();
    measure(criterion, "wat", &host, &host.load(&Guest::new(OK)));
    let noop = Path::new(env!("CARGO_MANIFEST_DIR")).join(NOOP);
    if let Ok(wasm) = fs::read(noop) {
        let program = host.sandbox.load(&wasm).unwrap();
        measure(criterion, "noop", &host, &program);
        measure_two_threads(criterion, "noop", &host, &program);
    }
}

criterion_group!(benches, calls);
criterion_main!(benches);
