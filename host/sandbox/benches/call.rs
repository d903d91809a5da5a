//! What one delivery costs: on a warm instance, and on a fresh one; what a component costs to load, and to hold.
//!
//! Measures a guest in the text format, and `target/guests/guest-noop.wasm` (Rust) and `guest-javascript.wasm` when they are
//! there. A word behind the command chooses rows: `cargo bench --profile dev --workspace --bench call -- fresh`. Times are the median
//! and the least of blocks of 64 deliveries; processor time is that of the thread, which neighbours disturb less.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    fs,
    path::Path,
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{
    guest::{Guest, OK},
    host::{Host, delivery},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use wasmill_delivery::{input::AttemptResult, record::HandlerLimits};
use wasmill_sandbox::{
    Delivery, HandlerContext, Program, Sandbox, SandboxOptions, Session, SlowLane, StagedState, slow_lane,
};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GUESTS: &str = "../../target/guests";
/// Deliveries in a block, as long as a run of a quick handler.
const RUN: u32 = 64;
const MEASURED: Duration = Duration::from_secs(2);

/// What was measured of one delivery, in microseconds.
struct Cost {
    median: f64,
    least: f64,
    processor: f64,
    per_second: f64,
}

struct Bench {
    wanted: Vec<String>,
    host: Host,
    lane: SlowLane,
}

impl Bench {
    fn wants(&self, row: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|word| row.contains(word.as_str()))
    }

    fn load(&self, wasm: &[u8]) -> Arc<Program> {
        sandbox(self.host.folder.path(), &self.lane).load(wasm).unwrap()
    }

    fn context(&self, instance_calls_max: u32) -> Arc<HandlerContext> {
        let limits = HandlerLimits { instance_calls_max, fuel_max: u64::MAX / 2, ..self.host.limits };
        Arc::new(HandlerContext { limits, ..self.host.context() })
    }

    fn guest(&self, name: &str, wasm: &[u8]) {
        let program = self.load(wasm);
        for (kind, calls_max) in [("warm", u32::MAX), ("fresh", 1)] {
            let context = self.context(calls_max);
            self.row(&format!("{name}, {kind}, one by one"), || measure(&program, &context, 1));
            self.row(&format!("{name}, {kind}, run of {RUN}"), || measure(&program, &context, RUN));
        }
        let row = format!("{name}, fresh, two threads");
        if self.wants(&row) {
            let (one, two) = (measure(&program, &self.context(1), RUN), two_threads(&program, &self.context(1)));
            print(&format!("{row}, each"), &two);
            println!("{:<44} {:>9.2} times the work of one", "", two.per_second * 2.0 / one.per_second);
        }
        drop(program);
        self.cold(name, wasm);
    }

    fn row(&self, row: &str, cost: impl FnOnce() -> Cost) {
        if self.wants(row) {
            print(row, &cost());
        }
    }

    /// As after a restart: another engine finds the code that was compiled before.
    fn cold(&self, name: &str, wasm: &[u8]) {
        let row = format!("{name}, load from the cache");
        if self.wants(&row) {
            let mut took: Vec<Duration> = (0..9)
                .map(|_| {
                    let sandbox = sandbox(self.host.folder.path(), &self.lane);
                    let started = Instant::now();
                    let _program = sandbox.load(wasm).unwrap();
                    started.elapsed()
                })
                .collect();
            took.sort();
            println!("{row:<44} {:>9.2} {:>9.2}  ms", took[4].as_secs_f64() * 1e3, took[0].as_secs_f64() * 1e3);
        }
    }

    /// Many handlers, each with an instance that ran.
    fn resident(&self, name: &str, handlers: u32, wasm: &[u8]) {
        let row = format!("{handlers} handlers, {name}");
        if !self.wants(&row) {
            return;
        }
        let options = SandboxOptions { instances_max: 2 * handlers, ..SandboxOptions::new(self.host.folder.path()) };
        let sandbox = Sandbox::new(options).unwrap();
        let variants: Vec<Vec<u8>> = (0..handlers).map(|number| numbered(wasm, number)).collect();
        let programs: Vec<Arc<Program>> = variants.iter().map(|wasm| sandbox.load(wasm).unwrap()).collect();
        drop(programs);
        drop(sandbox);
        // Again as after a restart, from the cache: a compiler leaves memory behind.
        let options = SandboxOptions { instances_max: 2 * handlers, ..SandboxOptions::new(self.host.folder.path()) };
        let sandbox = Sandbox::new(options).unwrap();
        let compiled = resident_bytes();
        let programs: Vec<Arc<Program>> = variants.iter().map(|wasm| sandbox.load(wasm).unwrap()).collect();
        let loaded = resident_bytes();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sessions: Vec<Session> = programs
            .iter()
            .map(|program| {
                let mut session = Session::new(Arc::clone(program), self.context(u32::MAX));
                runtime.block_on(run(&mut session, &delivery_of_256_bytes(), 1));
                session
            })
            .collect();
        let warm = resident_bytes();
        let kib_each = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1024.0 / f64::from(handlers);
        println!("{:<44} {:>9.1}  KiB each", format!("{row}, loaded"), kib_each(compiled, loaded));
        println!("{:<44} {:>9.1}  KiB each", format!("{row}, an instance warm besides"), kib_each(loaded, warm));
        drop(sessions);
    }
}

fn main() {
    let wanted = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let (threads, lane) = slow_lane(1).unwrap();
    let bench = Bench { wanted, host: Host::new(), lane };
    println!("{:<44} {:>9} {:>9} {:>9}", "microseconds for one delivery", "median", "least", "processor");
    let wat = Guest::new(OK).build();
    bench.guest("text format", &wat);
    bench.resident("text format", 1_000, &wat);
    for (name, file) in [("Rust", "guest-noop.wasm"), ("JavaScript", "guest-javascript.wasm")] {
        match fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(GUESTS).join(file)) {
            Ok(wasm) => {
                bench.guest(name, &wasm);
                if name == "Rust" {
                    bench.resident(name, 100, &wasm);
                }
            }
            Err(_) => println!("{name}: {file} is not built; run `cargo xtask guests` first"),
        }
    }
    threads.shutdown_background();
}

fn print(row: &str, cost: &Cost) {
    println!("{row:<44} {:>9.2} {:>9.2} {:>9.2}", cost.median, cost.least, cost.processor);
}

fn sandbox(folder: &Path, lane: &SlowLane) -> Sandbox {
    let options = SandboxOptions { instances_max: 64, slow_lane: Some(lane.clone()), ..SandboxOptions::new(folder) };
    Sandbox::new(options).unwrap()
}

/// The same component with another digest: with a custom section behind it.
fn numbered(component: &[u8], number: u32) -> Vec<u8> {
    let name = format!("number-{number:04}");
    let length = u8::try_from(name.len()).unwrap();
    [component, &[0, length + 1, length], name.as_bytes()].concat()
}

/// A message of 256 bytes with a key, a content type and two headers.
fn delivery_of_256_bytes() -> Delivery {
    let mut delivery = delivery(1, 1);
    Arc::make_mut(&mut delivery.message).data = Bytes::from(vec![b'x'; 256]);
    delivery
}

async fn run(session: &mut Session, delivery: &Delivery, times: u32) {
    for _ in 0..times {
        let attempt = session.run(delivery, &mut StagedState::default()).await;
        assert!(matches!(attempt.result, AttemptResult::Succeeded(_)), "{attempt:?}");
    }
}

/// `run_length` deliveries are run without going back to the executor.
fn measure(program: &Arc<Program>, context: &Arc<HandlerContext>, run_length: u32) -> Cost {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let delivery = delivery_of_256_bytes();
    let mut session = Session::new(Arc::clone(program), Arc::clone(context));
    let mut block = || {
        for _ in 0..RUN / run_length {
            runtime.block_on(run(&mut session, &delivery, run_length));
        }
    };
    block();
    let (started, begun) = (Instant::now(), thread_time());
    let mut blocks = Vec::new();
    while started.elapsed() < MEASURED {
        let block_started = Instant::now();
        block();
        blocks.push(block_started.elapsed());
    }
    let (took, processor) = (started.elapsed(), thread_time() - begun);
    blocks.sort();
    let deliveries = blocks.len() as f64 * f64::from(RUN);
    let each = |block: &Duration| block.as_secs_f64() * 1e6 / f64::from(RUN);
    Cost {
        median: each(&blocks[blocks.len() / 2]),
        least: each(&blocks[0]),
        processor: processor.as_secs_f64() * 1e6 / deliveries,
        per_second: deliveries / took.as_secs_f64(),
    }
}

/// The slower of two that do the same at once.
fn two_threads(program: &Arc<Program>, context: &Arc<HandlerContext>) -> Cost {
    let both = Barrier::new(2);
    let work = || {
        both.wait();
        measure(program, context, RUN)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let (mine, other) = (work(), other.join().unwrap());
        if mine.per_second < other.per_second { mine } else { other }
    })
}

fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// Of this process, as `/proc/self/status` says.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}
