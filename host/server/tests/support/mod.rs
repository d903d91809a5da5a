//! Starts the built `wasmill`, speaks to it, and waits for what it says rather than for time to pass.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nothing that is waited for takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that runs the built program in this folder, without what the caller's environment says of hosts.
pub(crate) fn wasmill(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmill"));
    command.current_dir(folder).env_remove("WASMILL_URL").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// What a program that ended had to say.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Run a command that ends by itself.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Said {
    Said::of(wasmill(folder).args(arguments).output().expect("wasmill runs"))
}

/// A component of the project.
pub(crate) fn guest(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests").join(format!("{name}.wasm"));
    assert!(path.is_file(), "component {name} is not built; run `cargo xtask guests` first");
    path
}

/// A host as a child process. It is killed when this is dropped.
pub(crate) struct Served {
    child: Child,
    folder: PathBuf,
    /// What it said when it was ready.
    pub(crate) ready: String,
    pub(crate) url: String,
    log: Receiver<String>,
    /// Every log line that was waited past.
    pub(crate) seen: Vec<String>,
}

impl Served {
    /// Start a host on a free port, in this folder, and wait until it says that it is ready.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = wasmill(folder);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::start_command(folder, command)
    }

    /// Start a host by a command of one's own.
    pub(crate) fn start_command(folder: &Path, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wasmill starts");
        let log = lines_of(child.stderr.take().expect("piped"));
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("text");
        let said: Vec<String> = if ready.is_empty() { log.iter().collect() } else { Vec::new() };
        let after = ready.split("http://").nth(1);
        let after =
            after.unwrap_or_else(|| panic!("the host did not start; it said {ready:?} and\n{}", said.join("\n")));
        let address: String = after.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let url = format!("http://{address}");
        Self { child, folder: folder.to_owned(), ready, url, log, seen: Vec::new() }
    }

    /// Wait for a log line that holds `text`.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("the log never said {text:?}, but\n{}", self.seen.join("\n"))
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("the host is there");
    }

    /// Wait until it has ended.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// Stop it as an operator would.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Run a command against it.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().expect("wasmill runs"))
    }

    /// Run a command against it that reads `input`.
    pub(crate) fn cli_with_input(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("wasmill runs");
        let mut stdin: ChildStdin = child.stdin.take().expect("piped");
        stdin.write_all(input).expect("it reads");
        drop(stdin);
        Said::of(child.wait_with_output().expect("our child"))
    }

    /// Run a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let said = self.cli(arguments);
        assert_eq!(said.code, 0, "wasmill {arguments:?} said {said:?}");
        said.out
    }

    /// Run a command that must succeed with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let out = self.ok(&arguments);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("wasmill {arguments:?} said {out:?}: {error}"))
    }

    /// Run a command that must fail, and give back what it said.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let said = self.cli(arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "wasmill {arguments:?} said {said:?}");
        said.err
    }

    /// Ask again and again until `done` likes the answer. Each question is a process of its own, which is pause enough.
    pub(crate) fn json_until(&self, arguments: &[&str], done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.json(arguments);
            if done(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "wasmill {arguments:?} says no better than {answer:#}");
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = wasmill(&self.folder);
        command.args(arguments).env("WASMILL_URL", &self.url);
        command
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
