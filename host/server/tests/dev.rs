//! `wasmill dev`, as its user meets it: files are edited, keys are typed, and what it says is read. The project's build
//! copies a component of this repository, so no compiler is needed.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, PipeReader, Write as _, pipe},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use support::{guest, run, wasmill};
use tempfile::TempDir;

/// Nothing that is waited for takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
[handler.h]
file = "build/h.wasm"
config = { to = "out" }

[queue.in]
bindings = ["in"]

[queue.in.consumer.h]
handler = "h"
attempts = 1

[queue.out]
bindings = ["out"]
"#;

/// A project whose handler is the guest that `src/which` names.
struct Project(TempDir);

impl Project {
    fn new(which: &str) -> Self {
        let project = Self(tempfile::tempdir().expect("a temporary folder"));
        fs::create_dir(project.path("src")).expect("our folder");
        project.choose(which);
        project.write("wasmill.toml", CONFIG);
        project.write(
            "project.toml",
            "build = \"./build.sh\"\ncomponent = \"build/h.wasm\"\nwatch = [\"src\"]\nsamples = \"samples.ndjson\"\n",
        );
        project.write(
            "samples.ndjson",
            "{\"topic\": \"in\", \"text\": \"hello\", \"headers\": {\"reply-to\": \"out\"}}\n{\"topic\": \"in\", \"json\": {\"a\": 1}}\n",
        );
        let guests = guest("guest-echo").parent().expect("a folder").canonicalize().expect("it is there");
        project.script(&format!(
            "if grep -q broken src/which; then echo 'src/which:1: it is broken' >&2; exit 3; fi\n\
             mkdir -p build && cp {}/guest-$(cat src/which).wasm build/h.wasm",
            guests.display()
        ));
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("our folder");
    }

    fn choose(&self, which: &str) {
        self.write("src/which", which);
    }

    fn script(&self, script: &str) {
        self.write("build.sh", &format!("#!/bin/sh\nset -e\n{script}\n"));
        fs::set_permissions(self.path("build.sh"), fs::Permissions::from_mode(0o755)).expect("our file");
    }

    fn dev(&self, arguments: &[&str]) -> Dev {
        Dev::start(self.0.path(), arguments)
    }
}

/// A running `wasmill dev`. It is killed when this is dropped.
struct Dev {
    child: Child,
    keys: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Dev {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = wasmill(folder);
        command.arg("dev").args(arguments);
        // One pipe for both, as a terminal is: its lines come in the order in which they were said.
        let (said, both) = pipe().expect("a pipe");
        command.stdin(Stdio::piped()).stdout(both.try_clone().expect("a second end")).stderr(both);
        let mut child = command.spawn().expect("wasmill starts");
        let (sender, lines) = channel();
        pass_on(said, sender);
        let keys = child.stdin.take().expect("piped");
        Self { child, keys, lines, seen: Vec::new() }
    }

    /// Wait for a line that holds `text`, from here on.
    fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it never said {text:?}, but\n{}", self.seen.join("\n"))
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn types(&mut self, keys: &str) {
        writeln!(self.keys, "{keys}").expect("it reads");
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id()), signal).expect("it is there");
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id")
}

fn pass_on(said: PipeReader, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

#[test]
fn what_is_edited_is_built_loaded_and_tried() {
    let project = Project::new("echo");
    let mut dev = project.dev(&[]);
    let listening = dev.wait_for("listening on http://127.0.0.1:");
    let url: String = listening.split_whitespace().nth(2).expect("a URL").trim_end_matches(',').to_owned();
    dev.wait_for("1  in  hello");
    dev.wait_for("2  in  {\"a\": 1}");
    dev.types("1");
    dev.wait_for("publishing to in");
    assert!(dev.wait_for("in/1  h  success").contains(" ms  "));
    dev.wait_for("published  out  hello");

    project.choose("replier");
    dev.wait_for("changed: src/which");
    dev.wait_for("loaded h ");
    dev.types("1");
    dev.wait_for("published  out  key reply  HELLO");

    project.choose("broken");
    dev.wait_for("it is broken");
    dev.wait_for("the build failed (exit status: 3); the old version stays");
    dev.types("1");
    dev.wait_for("HELLO");

    project.choose("wrong-world");
    assert!(dev.wait_for("h is refused").ends_with("the old version stays"));
    dev.types("1");
    dev.wait_for("HELLO");

    project.choose("panic");
    dev.wait_for("loaded h ");
    dev.types("2");
    dev.wait_for("in/5  h  trapped");
    dev.wait_for("in/5  quarantined as 1: attempts-exhausted");
    let shown = dev.wait_for("wasmill quarantine show 1");
    let command: Vec<&str> = shown.split_whitespace().skip_while(|word| *word != "wasmill").skip(1).collect();
    let said = run(project.0.path(), &command);
    assert!(said.code == 0 && said.out.contains("trapped"), "{command:?}: {said:?}");

    project.write("wasmill.toml", &CONFIG.replace("attempts = 1", "attempts = 3"));
    dev.wait_for("starting the host anew");
    assert!(dev.wait_for("listening on ").contains(&url), "at the same address");
    let second = run(project.0.path(), &["dev"]);
    assert!(second.code == 1 && second.err.contains("another `wasmill dev` runs in this folder"), "{second:?}");

    project.write("wasmill.toml", "[handler.h]\nfiles = \"x\"\n");
    dev.wait_for("nothing is changed");
    dev.types("?");
    dev.wait_for("q quits");
    dev.signal(Signal::INT);
    assert!(dev.wait().success());
    let said = run(project.0.path(), &["queue", "list", "--url", &url]);
    assert_eq!(said.code, 1, "the host is gone: {said:?}");
}

#[test]
fn it_begins_with_a_build_that_fails_and_goes_on_when_it_is_mended() {
    let project = Project::new("broken");
    let mut dev = project.dev(&["--publish-samples"]);
    dev.wait_for("the build failed");
    dev.wait_for("waiting for a change");
    dev.types("1");
    dev.wait_for("there is no host yet");
    project.choose("wrong-world");
    dev.wait_for("exports none of");
    dev.wait_for("waiting for a change");
    project.choose("echo");
    dev.wait_for("listening on ");
    dev.wait_for("{\"a\": 1}");
    dev.wait_for("in/2  h  success");
    dev.types("q");
    assert!(dev.wait().success());
}

#[test]
fn once_is_for_scripts() {
    let project = Project::new("echo");
    let said = run(project.0.path(), &["dev", "--once", "--publish-samples"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("in/1  h  success") && said.out.contains("in/2  h  success"), "{said:?}");
    let said = run(project.0.path(), &["dev", "--once", "--publish-samples"]);
    assert!(said.out.contains("in/1  h  success"), "each start begins anew: {said:?}");
    let said = run(project.0.path(), &["dev", "--once", "--publish-samples", "--keep"]);
    assert!(said.code == 0 && said.out.contains("in/3  h  success"), "{said:?}");
    project.choose("sleeper");
    let patient = run(project.0.path(), &["dev", "--once", "--publish-samples", "--patience", "1ms"]);
    assert!(patient.code == 1 && patient.err.contains("are not settled after 1ms"), "{patient:?}");
    project.choose("broken");
    let said = run(project.0.path(), &["dev", "--once"]);
    assert!(said.code == 1 && said.err.contains("the build failed (exit status: 3)"), "{said:?}");
}

#[test]
fn once_is_one_build_whatever_is_typed_and_changed() {
    let project = Project::new("sleeper");
    project.write("wasmill.toml", &CONFIG.replace("to = \"out\"", "ms = \"1000\""));
    let script = fs::read_to_string(project.path("build.sh")).expect("our file");
    let script = script.trim_start_matches("#!/bin/sh\nset -e\n").to_owned();
    project.script(&format!("{script}\ndate +%N > src/generated"));
    let mut dev = project.dev(&["--once", "--publish-samples"]);
    dev.types("q");
    dev.wait_for("publishing to in");
    dev.types("b");
    project.choose("broken");
    dev.wait_for("in/2  h  success");
    assert_eq!(dev.seen.iter().filter(|line| line.contains("building:")).count(), 1, "{:?}", dev.seen);
    assert!(dev.wait().success());

    project.script("sleep 1000");
    let mut dev = project.dev(&["--once"]);
    dev.wait_for("building:");
    dev.signal(Signal::TERM);
    assert!(!dev.wait().success(), "nothing was built");
}

#[test]
fn a_build_calls_the_program_that_runs_it() {
    let project = Project::new("echo");
    let script = fs::read_to_string(project.path("build.sh")).expect("our file");
    let script = script.trim_start_matches("#!/bin/sh\nset -e\n").to_owned();
    project.script(&format!("command -v wasmill\n{script}"));
    let said = run(project.0.path(), &["dev", "--once"]);
    assert!(said.code == 0 && said.out.contains(env!("CARGO_BIN_EXE_wasmill")), "{said:?}");
}

#[test]
fn a_kept_store_does_not_hide_what_is_refused() {
    let project = Project::new("echo");
    let once = ["dev", "--once", "--keep", "--publish-samples"];
    assert_eq!(run(project.0.path(), &once).code, 0);
    project.choose("wrong-world");
    let said = run(project.0.path(), &once);
    assert!(said.code == 1 && said.err.contains("h is refused"), "{said:?}");
    assert!(said.err.trim_end().ends_with("the old version stays") && !said.out.contains("publishing"), "{said:?}");
}

#[test]
fn what_was_built_runs_at_once_whatever_the_configuration_says_of_trials() {
    let project = Project::new("echo");
    project.write("wasmill.toml", &CONFIG.replace("[queue.in]", "[handler.h.canary]\nshare = \"1%\"\n\n[queue.in]"));
    assert_eq!(run(project.0.path(), &["dev", "--once", "--keep"]).code, 0);
    project.choose("replier");
    let said = run(project.0.path(), &["dev", "--once", "--keep", "--publish-samples"]);
    assert!(said.code == 0 && said.out.contains("published  out  key reply  HELLO"), "{said:?}");
}

#[test]
fn a_configuration_waits_for_what_is_built_with_it() {
    let project = Project::new("replier");
    let mut dev = project.dev(&[]);
    dev.wait_for("listening on ");
    project.choose("broken");
    dev.wait_for("the old version stays");
    project.write("wasmill.toml", &CONFIG.replace("to = \"out\"", "to = \"other\""));
    dev.wait_for("changed: wasmill.toml");
    dev.wait_for("the old version stays");
    dev.types("1");
    dev.wait_for("HELLO");
    project.write("wasmill.toml", &CONFIG.replace("[\"in\"]", "[\"in\", \"also\"]"));
    project.choose("replier");
    dev.wait_for("starting the host anew");
    dev.wait_for("listening on ");
    dev.types("1");
    dev.wait_for("HELLO");
}

#[test]
fn a_build_under_way_ends_with_it() {
    let project = Project::new("echo");
    project.script("sleep 1000 & echo $! > sleeper; wait");
    let mut dev = project.dev(&[]);
    dev.wait_for("building: ./build.sh");
    let deadline = Instant::now() + PATIENCE;
    let sleeper = loop {
        let said = fs::read_to_string(project.path("sleeper")).unwrap_or_default();
        match said.strip_suffix('\n').and_then(|id| id.parse::<u32>().ok()) {
            Some(id) => break pid(id),
            None => assert!(Instant::now() < deadline, "the build does not run"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    dev.signal(Signal::TERM);
    assert!(dev.wait().success());
    while is_running(sleeper) {
        assert!(Instant::now() < deadline, "what the build started still runs");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A process that was killed and that nobody waited for does not run.
fn is_running(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(process).is_ok() && !stat.contains(") Z ")
}

#[test]
fn files_that_the_build_itself_changes_do_not_make_it_run_for_ever() {
    let project = Project::new("echo");
    let script = fs::read_to_string(project.path("build.sh")).expect("our file");
    let script = script.trim_start_matches("#!/bin/sh\nset -e\n").to_owned();
    project.script(&format!("{script}\ndate +%N > src/generated"));
    let mut dev = project.dev(&[]);
    dev.wait_for("src/generated: changed during each of the last builds");
    project.choose("replier");
    // On a line of its own: the other file is as the build left it.
    assert_eq!(dev.wait_for("changed: "), "changed: src/which");
    dev.wait_for("loaded h ");
    // It is the user's all the same, as far as the build lets it be.
    project.write("src/generated", "edited");
    assert_eq!(dev.wait_for("changed: "), "changed: src/generated");
    dev.wait_for("is what runs already");
    project.choose("echo");
    assert_eq!(dev.wait_for("changed: "), "changed: src/which");
    dev.types("q");
    assert!(dev.wait().success());
}

#[test]
fn a_watched_file_that_is_not_there_is_said_and_noticed_when_it_comes() {
    let project = Project::new("echo");
    let text = fs::read_to_string(project.path("project.toml")).expect("our file");
    project.write("project.toml", &text.replace("[\"src\"]", "[\"src\", \"scr\"]"));
    let mut dev = project.dev(&[]);
    dev.wait_for("there is no scr, which project.toml names under watch");
    dev.wait_for("listening on ");
    project.write("scr", "here");
    assert_eq!(dev.wait_for("changed: "), "changed: scr");
}

#[test]
fn mistakes_in_the_project_are_said() {
    let project = Project::new("echo");
    let refused = |words: &str| {
        let said = run(project.0.path(), &["dev"]);
        assert!(said.code == 1 && said.err.contains(words), "{said:?}");
    };
    let said = run(project.0.path(), &["dev", "--listen", "0.0.0.0:0"]);
    assert!(said.code == 1 && said.err.contains("allow-remote"), "{said:?}");
    project.write("wasmill.toml", &CONFIG.replace("build/h.wasm", "build/other.wasm"));
    refused("declares no handler with file = \"build/h.wasm\"");
    fs::remove_file(project.path("wasmill.toml")).expect("our file");
    refused("there is no wasmill.toml here");
    project.write("project.toml", "build = \"x\"\n");
    refused("missing field `component`");
    fs::remove_file(project.path("project.toml")).expect("our file");
    refused("wasmill new NAME --lang LANGUAGE");
}
