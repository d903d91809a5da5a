//! Server processes: started with a folder and ports of their own, watched, and stopped by their id.

use std::{
    collections::BTreeMap,
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until it answers.
pub const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// A port that nobody listens on now, each time another one. The system gives those from 32768 on to connections, so one of these might
/// be taken before its server is there.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let ports = std::iter::from_fn(|| Some(NEXT.fetch_add(1, Ordering::Relaxed))).take_while(|port| *port < 32_768);
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().context("no port from 20000 to 32767 is free")
}

/// A server and everything it started.
pub struct Server {
    child: Child,
}

impl Server {
    /// Start it; what it says goes to `NAME.log` in the folder.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let said = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self { child: command.spawn().with_context(|| format!("cannot start {said}"))? })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended by itself: {status}"),
        }
    }

    /// Tell it and what it started to end, and wait until it did.
    pub fn stop(&mut self) -> Result<()> {
        let all = tree(self.id());
        let begun = Instant::now();
        // The youngest first: a shell script that waits for its server ends by itself.
        signal(all.iter().rev(), Signal::TERM);
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > STOP_PATIENCE {
                signal(all.iter(), Signal::KILL);
                self.child.wait()?;
                bail!("the server had to be killed");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(tree(self.id()).iter().rev(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn signal<'a>(pids: impl Iterator<Item = &'a u32>, signal: Signal) {
    for pid in pids.filter_map(|pid| Pid::from_raw((*pid).cast_signed())) {
        // One that has ended meanwhile is what is wanted.
        let _ = kill_process(pid, signal);
    }
}

/// What the kernel says of a process.
struct Stat {
    parent: u32,
    cpu_ticks: u64,
    rss_pages: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Fields 14 to 17: its own time, and that of its children that have ended.
    let cpu_ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, cpu_ticks, rss_pages: number(21)? })
}

/// A process and its descendants, parents first.
fn tree(root: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![root] };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, stat) in pids.filter_map(|pid| Some((pid, stat(pid)?))) {
        children.entry(stat.parent).or_default().push(pid);
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        next += 1;
    }
    found
}

/// Processor time of these processes and their descendants, in seconds.
pub fn cpu_s(roots: &[u32]) -> f64 {
    let ticks: u64 = roots.iter().flat_map(|root| tree(*root)).filter_map(stat).map(|stat| stat.cpu_ticks).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory of these processes and their descendants, in MiB.
pub fn rss_mib(roots: &[u32]) -> f64 {
    let pages: u64 = roots.iter().flat_map(|root| tree(*root)).filter_map(stat).map(|stat| stat.rss_pages).sum();
    (pages as f64) * (rustix::param::page_size() as f64) / (1024.0 * 1024.0)
}

/// Looks at memory until it is asked for the most.
pub struct MemoryWatch {
    stop: Arc<AtomicBool>,
    most_kib: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl MemoryWatch {
    pub fn start(roots: Vec<u32>) -> Self {
        let (stop, most_kib) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, most_kib) = (Arc::clone(&stop), Arc::clone(&most_kib));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    most_kib.fetch_max((rss_mib(&roots) * 1024.0) as u64, Ordering::Relaxed);
                    std::thread::sleep(SAMPLE_EVERY);
                }
            }
        });
        Self { stop, most_kib, thread }
    }

    /// The most it has seen, in MiB.
    pub fn finish(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.most_kib.load(Ordering::Relaxed) as f64 / 1024.0
    }
}

/// Bytes of the files below a folder, as the disk holds them.
pub fn disk_mib(folder: &Path) -> f64 {
    fn bytes(folder: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
        let sizes = entries.flatten().map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        });
        sizes.sum()
    }
    bytes(folder) as f64 / (1024.0 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_watched_and_stopped_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100 & wait"]);
        let mut server = Server::start("sh", folder.path(), command).unwrap();
        while tree(server.id()).len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let all = tree(server.id());
        assert!(rss_mib(&[server.id()]) > 0.0);
        server.check().unwrap();
        server.stop().unwrap();
        assert!(all.iter().all(|pid| stat(*pid).is_none_or(|stat| stat.rss_pages == 0)));
    }
}
