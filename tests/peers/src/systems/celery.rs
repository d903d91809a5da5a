//! Celery on Redis: its own worker in Python, and publishers in Python that stay.

use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    sync::Mutex,
    task::JoinSet,
};

use super::{
    Audit, OneByOne, Place, System, WORKERS,
    redis::{self, Redis},
};
use crate::{
    case::{Case, Work},
    process::{START_PATIENCE, Server},
    tally::Tally,
};

/// How often the marks of the tasks are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const PUBLISHERS: usize = 4;

/// How safe it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Acknowledged before the task runs; Redis syncs once in a second.
    Default,
    /// Acknowledged after it; Redis syncs each command.
    Durable,
}

pub(super) struct Celery {
    redis: Redis,
    mode: Mode,
    folder: PathBuf,
    python: PathBuf,
    publishers: Arc<Mutex<Vec<Publisher>>>,
}

/// A process that publishes what it is told to.
struct Publisher {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Publisher {
    async fn publish(&mut self, case: &Case, share: Range<u64>) -> Result<()> {
        let order = format!("{} {} {} {}\n", task(case), case.data_bytes, share.start, share.end);
        self.input.write_all(order.as_bytes()).await?;
        self.expect("done").await
    }

    async fn expect(&mut self, word: &str) -> Result<()> {
        let said = self.output.next_line().await?.context("a publisher of Celery ended; see its log")?;
        ensure!(said == word, "a publisher of Celery said {said:?}");
        Ok(())
    }
}

const fn task(case: &Case) -> &'static str {
    match case.work {
        Work::Nothing => "nothing",
        Work::Forward => "forward",
    }
}

pub(super) async fn start(place: &Place, folder: &Path, mode: Mode) -> Result<Celery> {
    let appendfsync = if mode == Mode::Durable { "always" } else { "everysec" };
    let celery = Celery {
        redis: redis::start(folder, appendfsync).await?,
        mode,
        folder: folder.to_owned(),
        python: place.venv.join("bin/python"),
        publishers: Arc::default(),
    };
    for number in 0..PUBLISHERS {
        let log = File::create(folder.join(format!("publisher-{number}.log")))?;
        let mut command = celery.python_command();
        command.arg("publish.py").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = (input.context("no stdin")?, BufReader::new(output.context("no stdout")?).lines());
        let mut publisher = Publisher { _child: child, input, output };
        publisher.expect("ready").await?;
        celery.publishers.lock().await.push(publisher);
    }
    Ok(celery)
}

impl Celery {
    fn seen(&self) -> PathBuf {
        self.folder.join("seen")
    }

    fn python_command(&self) -> Command {
        let mut command = Command::new(&self.python);
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("celery"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PEERS_BROKER", format!("redis://127.0.0.1:{}/0", self.redis.port))
            .env("PEERS_MODE", if self.mode == Mode::Durable { "durable" } else { "default" })
            .env("PEERS_SEEN", self.seen())
            .env("PEERS_READY", self.folder.join("ready"));
        command
    }

    fn marks(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.seen())?)
    }

    async fn left(&self) -> Result<u64> {
        let mut connection = self.redis.connect().await?;
        let waiting: u64 = ::redis::cmd("LLEN").arg("work").query_async(&mut connection).await?;
        let unacknowledged: u64 = ::redis::cmd("HLEN").arg("unacked").query_async(&mut connection).await?;
        Ok(waiting + unacknowledged)
    }

    async fn wait_marked(&self, messages: u64) -> Result<()> {
        while (self.marks()?.iter().filter(|mark| **mark > 0).count() as u64) < messages {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

#[async_trait]
impl System for Celery {
    fn servers(&self) -> Vec<u32> {
        self.redis.servers()
    }

    fn lacks(&self, case: &Case) -> Option<&'static str> {
        (case.consumers > 1).then_some("Celery gives a durable task to one queue only")
    }

    fn pipelines(&self) -> bool {
        false
    }

    async fn prepare(&self, _case: &Case, messages: u64) -> Result<()> {
        let mut connection = self.redis.connect().await?;
        ::redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        std::fs::write(self.seen(), vec![0; usize::try_from(messages)?])?;
        Ok(())
    }

    async fn consume(&self, _case: &Case, _tally: &Arc<Tally>) -> Result<JoinSet<Result<()>>> {
        let ready = self.folder.join("ready");
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        let mut command = self.python_command();
        command.args(["-m", "celery", "--app", "tasks", "worker", "--queues", "work", "--loglevel", "warning"]);
        command.args(["--without-gossip", "--without-mingle", "--without-heartbeat", "--concurrency"]);
        command.arg(WORKERS.to_string());
        let server = Server::start("worker", &self.folder, command)?;
        let begun = Instant::now();
        while !ready.exists() {
            ensure!(begun.elapsed() < START_PATIENCE, "the worker of Celery was not ready within {START_PATIENCE:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let mut workers = JoinSet::new();
        workers.spawn(watch(server));
        Ok(workers)
    }

    async fn produce(&self, case: &Case, share: Range<u64>) -> Result<()> {
        let mut publisher = self.publishers.lock().await.pop().context("there are too few publishers of Celery")?;
        let answer = publisher.publish(case, share).await;
        self.publishers.lock().await.push(publisher);
        answer
    }

    async fn one_by_one(&self, case: &Case) -> Result<Box<dyn OneByOne>> {
        Ok(Box::new(One { publishers: Arc::clone(&self.publishers), case: *case }))
    }

    async fn wait_handled(&self, _case: &Case, _tally: &Tally, messages: u64) -> Result<()> {
        while (self.marks()?.iter().filter(|mark| **mark > 0).count() as u64) < messages {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        Ok(())
    }

    async fn wait_done(&self, _case: &Case, _tally: &Tally, messages: u64) -> Result<()> {
        self.wait_marked(messages).await?;
        while self.left().await? > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn audit(&self, _case: &Case, _tally: &Tally, _messages: u64) -> Result<Audit> {
        let marks = self.marks()?;
        let count = |wanted: fn(u8) -> bool| marks.iter().filter(|mark| wanted(**mark)).count() as u64;
        let mut connection = self.redis.connect().await?;
        let outputs = ::redis::cmd("LLEN").arg("out").query_async(&mut connection).await?;
        let (lost, doubled) = (count(|mark| mark == 0), count(|mark| mark > 1));
        Ok(Audit { left: self.left().await?, outputs, lost, doubled })
    }

    async fn stop(&self) -> Result<()> {
        self.publishers.lock().await.clear();
        self.redis.stop().await
    }
}

/// Keeps the worker until it is dropped, which kills it: by then it has nothing left.
async fn watch(mut server: Server) -> Result<()> {
    loop {
        server.check()?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

struct One {
    publishers: Arc<Mutex<Vec<Publisher>>>,
    case: Case,
}

#[async_trait]
impl OneByOne for One {
    async fn publish(&mut self, number: u64) -> Result<()> {
        let mut publishers = self.publishers.lock().await;
        let publisher = publishers.first_mut().context("there is no publisher of Celery")?;
        publisher.publish(&self.case, number..number + 1).await
    }
}
