use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use wasmill_runtime::delivery::record::*;
use wasmill_runtime::*;
struct Count(AtomicU64, AtomicU64, AtomicU64);
impl Observer for Count {
    fn settled(&self, _: &SettleSeen<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn committed(&self, c: &Commit) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.2.fetch_add(c.duration.as_nanos() as u64, Ordering::Relaxed);
    }
}
#[tokio::main(worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let count = Arc::new(Count(AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)));
    let mut o = HostOptions::new(folder.path());
    o.observer = count.clone();
    let host = Host::open(o).await.unwrap();
    host.load_handler("noop".parse().unwrap(), std::fs::read("target/guests/guest-noop.wasm").unwrap().into())
        .await
        .unwrap();
    host.put_queue("q".parse().unwrap(), QueueConfig { bindings: vec!["t".parse().unwrap()], ..Default::default() })
        .await
        .unwrap();
    host.put_consumer(
        "q".parse().unwrap(),
        "c".parse().unwrap(),
        ConsumerConfig {
            in_flight_max: 4000,
            concurrency: std::env::var("CONC").map_or(2, |c| c.parse().unwrap()),
            ..ConsumerConfig::new("noop".parse().unwrap())
        },
    )
    .await
    .unwrap();
    let window: usize = std::env::var("WIN").map_or(100, |c| c.parse().unwrap());
    for _ in 0..3 {
        let n: u64 = 400_000;
        let start = Instant::now();
        let before = count.0.load(Ordering::Relaxed);
        let c0 = count.1.load(Ordering::Relaxed);
        let d0 = count.2.load(Ordering::Relaxed);
        let mut tasks = vec![];
        for _ in 0..4 {
            let host = host.clone();
            tasks.push(tokio::spawn(async move {
                let half = window / 2;
                let batch = || (0..half).map(|_| Draft::new("t", vec![7u8; 256])).collect::<Vec<_>>();
                let mut left = (n / 4) as usize;
                let mut a = tokio::spawn({
                    let h = host.clone();
                    let b = batch();
                    async move { h.publish_many(b).await }
                });
                left -= half;
                while left > 0 {
                    let b = tokio::spawn({
                        let h = host.clone();
                        let b = batch();
                        async move { h.publish_many(b).await }
                    });
                    left = left.saturating_sub(half);
                    assert!(a.await.unwrap().unwrap().iter().all(Result::is_ok));
                    a = b;
                }
                a.await.unwrap().unwrap();
            }));
        }
        for t in tasks {
            t.await.unwrap();
        }
        let published = start.elapsed();
        while count.0.load(Ordering::Relaxed) - before < n {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let all = start.elapsed();
        let commits = count.1.load(Ordering::Relaxed) - c0;
        eprintln!(
            "publish {:.0}/s  end to end {:.0}/s  commits {} msgs/commit {} commit avg {} us total {:.0}% ",
            n as f64 / published.as_secs_f64(),
            n as f64 / all.as_secs_f64(),
            commits,
            n / commits,
            (count.2.load(Ordering::Relaxed) - d0) / commits / 1000,
            (count.2.load(Ordering::Relaxed) - d0) as f64 / 1e7 / all.as_secs_f64()
        );
    }
    let mut lat = vec![];
    for _ in 0..300 {
        let b = count.0.load(Ordering::Relaxed);
        let s = Instant::now();
        host.publish(Draft::new("t", vec![7u8; 256])).await.unwrap();
        while count.0.load(Ordering::Relaxed) == b {
            tokio::task::yield_now().await;
        }
        lat.push(s.elapsed().as_micros());
    }
    lat.sort();
    eprintln!("one at a time p50 {} us p99 {} us", lat[150], lat[297]);
    eprintln!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
            .collect::<Vec<_>>()
            .join(" ")
    );
    host.close(Duration::from_secs(5)).await;
}
