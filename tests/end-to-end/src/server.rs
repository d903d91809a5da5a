//! An HTTP server for handlers to wait for. It answers after a while, and remembers who asked and who gave up.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// How long a connection is read after its answer.
const LINGER: Duration = Duration::from_secs(5);

/// Answers `/size/N` with N bytes, `/head/N` with a header of N bytes, `/hang` never, and everything else with `hello`.
/// It lives as long as the test.
#[derive(Clone, Debug)]
pub struct SlowServer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// What a server has seen.
#[derive(Debug, Default)]
struct Seen {
    delay_ms: AtomicU64,
    waiting: AtomicUsize,
    waiting_most: AtomicUsize,
    abandoned: AtomicUsize,
    answered: Mutex<Vec<Answered>>,
}

/// A request that got its answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its path.
    pub path: String,
    /// Its first line and headers, as they came.
    pub head: String,
    /// When it came.
    pub came: Instant,
    /// When it was answered.
    pub went: Instant,
}

impl SlowServer {
    /// Listen on loopback, and answer each request after so long.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(delay: Duration) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let server = Self { address, seen: Arc::default() };
        server.set_delay(delay);
        let seen = Arc::clone(&server.seen);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("slow-server".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                loop {
                    if let Ok((stream, _)) = listener.accept().await {
                        let seen = Arc::clone(&seen);
                        tokio::spawn(async move { seen.serve(stream).await });
                    }
                }
            });
        })?;
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on answer after so long.
    pub fn set_delay(&self, delay: Duration) {
        self.seen.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Requests that wait for their answer now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.seen.waiting.load(Ordering::Acquire)
    }

    /// The most that ever waited at once.
    #[must_use]
    pub fn waiting_most(&self) -> usize {
        self.seen.waiting_most.load(Ordering::Acquire)
    }

    /// Requests whose sender went away before the answer.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.seen.abandoned.load(Ordering::Acquire)
    }

    /// All requests that were answered, in the order they came.
    #[must_use]
    pub fn answered(&self) -> Vec<Answered> {
        let mut answered = self.seen.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        answered.sort_by_key(|request| request.came);
        answered
    }

    /// Wait until so many requests wait at once.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn wait_for(&self, waiting: usize, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.waiting() != waiting {
            let now = self.waiting();
            anyhow::ensure!(Instant::now() < deadline, "{now} requests wait, and not {waiting}, after {patience:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Seen {
    async fn serve(&self, mut stream: TcpStream) {
        let Ok((head, path)) = read_head(&mut stream).await else { return };
        let came = Instant::now();
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel) + 1;
        self.waiting_most.fetch_max(waiting, Ordering::AcqRel);
        let delay = match path.as_str() {
            "/hang" => Duration::from_secs(3_600),
            _ => Duration::from_millis(self.delay_ms.load(Ordering::Relaxed)),
        };
        let gone = tokio::select! {
            () = tokio::time::sleep(delay) => false,
            () = until_gone(&mut stream) => true,
        };
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if gone {
            self.abandoned.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let answered = Answered { path: path.clone(), head, came, went: Instant::now() };
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
        let body = match path.strip_prefix("/size/").and_then(|size| size.parse().ok()) {
            Some(size) => vec![b'x'; size],
            None if path.starts_with("/echo") => path.clone().into_bytes(),
            None => b"hello".to_vec(),
        };
        let more = path.strip_prefix("/head/").and_then(|size| size.parse().ok()).unwrap_or(1);
        let more = "x".repeat(more);
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\nx-more: {more}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&body).await;
        let _ = stream.shutdown().await;
        // Closing with a body unread would make the system take the answer back.
        let _ = tokio::time::timeout(LINGER, until_gone(&mut stream)).await;
    }
}

/// Bodies are read while the request waits; what matters is when the sender goes away.
async fn until_gone(stream: &mut TcpStream) {
    let mut bytes = [0; 4_096];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

async fn read_head(stream: &mut TcpStream) -> Result<(String, String)> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 2_048];
        let count = stream.read(&mut bytes).await?;
        anyhow::ensure!(count > 0 && head.len() < 64 * 1_024, "no whole head");
        head.extend_from_slice(&bytes[..count]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split_whitespace().nth(1).context("no path")?.to_owned();
    Ok((head, path))
}
