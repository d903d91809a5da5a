//! Jobs and their callbacks as their users meet them: real handlers, a real receiver, and a host that is killed.

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use support::{Served, guest};

/// Nothing that is waited for takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One call that a receiver got.
#[derive(Clone, Debug)]
struct Call {
    at: Instant,
    answered: u16,
    key: Option<String>,
    body: Value,
}

/// Whoever is called back. It answers what it was told, then 200.
struct Receiver {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    /// Status and headers of the next answers.
    answers: Arc<Mutex<Vec<(u16, String)>>>,
}

impl Receiver {
    fn start(answers: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers = answers.iter().rev().map(|(status, headers)| (*status, (*headers).to_owned())).collect();
        let receiver = Self { address, calls: Arc::default(), answers: Arc::new(Mutex::new(answers)) };
        let (calls, answers) = (Arc::clone(&receiver.calls), Arc::clone(&receiver.answers));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = answer(stream, &calls, &answers);
            }
        });
        receiver
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("our own lock").clone()
    }

    fn wait_for_calls(&self, count: usize) -> Vec<Call> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let calls = self.calls();
            if calls.len() >= count {
                return calls;
            }
            assert!(Instant::now() < deadline, "waited for {count} calls in vain: {calls:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn answer(stream: TcpStream, calls: &Mutex<Vec<Call>>, answers: &Mutex<Vec<(u16, String)>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut length, mut key) = (0, None);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if lower.starts_with("idempotency-key:") {
            key = line.split_once(':').map(|(_, value)| value.trim().to_owned());
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, headers) = answers.lock().expect("our own lock").pop().unwrap_or((200, String::new()));
    let body = serde_json::from_slice(&body).expect("callbacks are JSON");
    calls.lock().expect("our own lock").push(Call { at: Instant::now(), answered: status, key, body });
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n")
}

/// A host whose queues are named like the guests that handle them.
fn write_config(folder: &Path, allow: &[String], more: &str) {
    let mut text = format!("[callbacks]\nallow = {allow:?}\n");
    for (name, config) in
        [("replier", ""), ("flaky", "fail-attempts = \"1\""), ("panic", ""), ("sleeper", "ms = \"700\"")]
    {
        let file = guest(&format!("guest-{name}"));
        text += &format!(
            "[handler.{name}]\nfile = {:?}\nconfig = {{ {config} }}\n[queue.{name}]\nbindings = [\"{name}\"]\n\
             [queue.{name}.consumer.c]\nhandler = \"{name}\"\nattempts = 2\n\
             backoff = {{ initial = \"300ms\", jitter = false }}\n",
            file.display().to_string()
        );
    }
    text += "[queue.done]\nbindings = [\"flaky.done\"]\n";
    std::fs::write(folder.join("wasmill.toml"), text + more).expect("our own folder");
}

fn submit(host: &Served, arguments: &[&str]) -> String {
    let job = host.json(&[&["job", "submit"], arguments].concat());
    job["id"].as_str().expect("an id").to_owned()
}

fn states_until_the_end(host: &Served, id: &str) -> (Vec<String>, Value) {
    let seen = std::cell::RefCell::new(Vec::new());
    let last = host.json_until(&["job", "status", id], |job| {
        let state = job["state"].as_str().expect("a state").to_owned();
        if seen.borrow().last() != Some(&state) {
            seen.borrow_mut().push(state);
        }
        job["ended_at_ms"].is_u64()
    });
    (seen.into_inner(), last)
}

#[test]
fn a_result_is_kept_and_called_back_again_after_a_503() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start(&[(503, "retry-after: 1\r\n")]);
    write_config(folder.path(), &[receiver.origin()], "");
    let host = Served::start(folder.path(), &[]);
    let id = submit(&host, &["replier", "hi", "--callback", &format!("{}/hook?a=b", receiver.origin())]);
    let ended = host.json(&["job", "wait", &id]);
    assert_eq!((&ended["state"], &ended["result"]["data_text"]), (&"done".into(), &"HI".into()), "{ended:#}");
    let shown = host.ok(&["job", "status", &id]);
    assert!(shown.contains("HI") && shown.contains("replier/c"), "{shown}");
    let calls = receiver.wait_for_calls(2);
    assert_eq!(calls.iter().map(|call| call.answered).collect::<Vec<_>>(), [503, 200]);
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(900), "Retry-After: 1 was not waited for");
    for call in &calls {
        assert_eq!(call.key.as_deref(), Some(&*format!("{id}-1")));
        assert_eq!(call.body, ended, "the same body as the status");
    }
    let settled = ["consumer", "show", "wasmill-callbacks/deliver"];
    host.json_until(&settled, |consumer| consumer["pending"] == 0 && consumer["lag"] == 0);
    assert_eq!(receiver.calls().len(), 2);
}

#[test]
fn jobs_retry_give_up_expire_and_are_cancelled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_config(folder.path(), &[], "");
    let host = Served::start(folder.path(), &[]);
    let flaky = submit(&host, &["flaky", "x"]);
    let (states, last) = states_until_the_end(&host, &flaky);
    assert!(states.contains(&"retrying".to_owned()) && last["state"] == "done", "{states:?}");
    assert_eq!(last["attempts"], 2);
    let panic = submit(&host, &["panic", "x"]);
    let (_, last) = states_until_the_end(&host, &panic);
    assert_eq!((&last["state"], &last["attempts"]), (&"quarantined".into(), &2.into()), "{last:#}");
    let number = last["deliveries"][0]["quarantine"].as_u64().expect("a number");
    assert!(host.ok(&["quarantine", "show", &number.to_string()]).contains("panic"));
    assert_eq!(host.cli(&["job", "wait", &panic]).code, 1, "it is not done");
    host.ok(&["consumer", "pause", "sleeper/c"]);
    let expired = submit(&host, &["sleeper", "x", "--expires-after", "1ms"]);
    let cancelled = submit(&host, &["sleeper", "x"]);
    let late = submit(&host, &["sleeper", "x", "--delay", "1h"]);
    let waits = host.cli(&["job", "wait", &cancelled, "--timeout", "100ms"]);
    assert!(waits.code == 1 && waits.out.contains("queued"), "a wait ends when its time is over: {waits:?}");
    for id in [&cancelled, &late] {
        host.ok(&["job", "cancel", id]);
        assert_eq!(host.json(&["job", "status", id])["state"], "cancelled", "at once");
    }
    assert_eq!(host.json(&["delayed", "list"])["delayed"].as_array().map(Vec::len), Some(0));
    host.ok(&["consumer", "resume", "sleeper/c"]);
    assert_eq!(states_until_the_end(&host, &expired).1["state"], "expired");
    let running = submit(&host, &["sleeper", "x"]);
    host.json_until(&["job", "status", &running], |job| job["state"] == "running");
    host.ok(&["job", "cancel", &running]);
    host.json_until(&["consumer", "show", "sleeper/c"], |consumer| consumer["in_flight"] == 0 && consumer["lag"] == 0);
    assert_eq!(host.json(&["job", "status", &running])["state"], "cancelled");
    let list = host.ok(&["job", "list", "--state", "cancelled"]);
    assert_eq!(list.lines().filter(|line| line.contains("cancelled")).count(), 3, "{list}");
    assert!(host.refused(&["job", "cancel", &expired]).contains("is expired and cannot be cancelled"));
}

#[test]
fn a_callback_survives_sigkill_and_is_taken_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start(&[(500, ""), (302, "location: http://127.0.0.1:1/\r\n")]);
    write_config(folder.path(), &[receiver.origin()], "");
    let host = Served::start(folder.path(), &[]);
    let id = submit(&host, &["panic", "x", "--callback", &receiver.origin()]);
    receiver.wait_for_calls(1);
    host.signal(Signal::KILL);
    host.wait();
    let host = Served::start(folder.path(), &[]);
    let calls = receiver.wait_for_calls(3);
    assert_eq!(calls[..3].iter().map(|call| call.answered).collect::<Vec<_>>(), [500, 302, 200]);
    assert!(calls.iter().all(|call| call.key.as_deref() == Some(&*format!("{id}-1"))), "{calls:?}");
    assert_eq!(calls[2].body["state"], "quarantined");
    let settled = |consumer: &Value| consumer["pending"] == 0 && consumer["lag"] == 0;
    host.json_until(&["consumer", "show", "wasmill-callbacks/deliver"], settled);
    host.signal(Signal::KILL);
    host.wait();
    let host = Served::start(folder.path(), &[]);
    let again = submit(&host, &["replier", "hi", "--callback", &receiver.origin()]);
    let calls = receiver.wait_for_calls(4);
    assert_eq!(calls[3].key.as_deref(), Some(&*format!("{again}-1")), "the first one is not called again");
    assert_eq!(calls.len(), 4);
    assert_eq!(host.json(&["job", "status", &id])["state"], "quarantined", "jobs survive too");
}

#[test]
fn only_what_the_configuration_allows_is_called() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start(&[]);
    write_config(folder.path(), &[], "");
    let host = Served::start(folder.path(), &[]);
    let hook = ["job", "submit", "replier", "hi", "--callback", &receiver.origin()];
    let refused = host.refused(&hook);
    let origin = receiver.origin();
    assert!(refused.contains(&format!("allow = [\"{origin}\"] under [callbacks]")), "{refused}");
    host.stop();
    // Allowed when it was submitted, and not any more when it is to be called.
    write_config(folder.path(), &[origin.clone(), "http://127.0.0.1:1".to_owned()], "");
    let host = Served::start(folder.path(), &[]);
    host.ok(&["consumer", "pause", "wasmill-callbacks/deliver"]);
    let id = submit(&host, &["replier", "hi", "--callback", &origin]);
    host.ok(&["job", "wait", &id]);
    host.stop();
    write_config(folder.path(), &["http://127.0.0.1:1".to_owned()], "");
    let host = Served::start(folder.path(), &[]);
    host.ok(&["consumer", "resume", "wasmill-callbacks/deliver"]);
    let rests = |list: &Value| list["quarantined"].as_array().is_some_and(|all| all.len() == 1);
    let list = host.json_until(&["quarantine", "list"], rests);
    let number = list["quarantined"][0]["id"].as_u64().expect("a number").to_string();
    assert!(host.ok(&["quarantine", "show", &number]).contains("is not allowed"));
    assert!(receiver.calls().is_empty(), "it was called");
    host.stop();
    let bad = support::run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--config", "bad.toml"]);
    assert_eq!(bad.code, 1);
    std::fs::write(folder.path().join("bad.toml"), "[callbacks]\nallow = [\"hooks.example.com\"]\n").expect("ours");
    let bad = support::run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--config", "bad.toml"]);
    assert!(bad.err.contains("write scheme, host and port"), "{bad:?}");
}

/// As many as `CALLBACKS_AT_ONCE` says, and the rest after them.
#[test]
fn so_many_callbacks_are_under_way_at_once() {
    const AT_ONCE: usize = 32;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let open = Arc::new(Mutex::new((0_usize, 0_usize, 0_usize)));
    let counts = Arc::clone(&open);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counts = Arc::clone(&counts);
            thread::spawn(move || hold(stream, &counts));
        }
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_config(folder.path(), std::slice::from_ref(&origin), "");
    let host = Served::start(folder.path(), &[]);
    host.ok(&["consumer", "pause", "wasmill-callbacks/deliver"]);
    let jobs = AT_ONCE + 8;
    for _ in 0..jobs {
        submit(&host, &["replier", "hi", "--callback", &origin]);
    }
    host.ok(&["consumer", "resume", "wasmill-callbacks/deliver"]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, most, all) = *open.lock().expect("our own lock");
        if all == jobs {
            assert_eq!(most, AT_ONCE);
            return;
        }
        assert!(Instant::now() < deadline, "{all} of {jobs} were called, {most} at once");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Keep a caller waiting for a second. Counts those that wait, the most that ever did, and all.
fn hold(mut stream: TcpStream, counts: &Mutex<(usize, usize, usize)>) {
    let begin = |(open, most, _): &mut (usize, usize, usize)| {
        *open += 1;
        *most = (*most).max(*open);
    };
    begin(&mut counts.lock().expect("our own lock"));
    let _ = stream.read(&mut [0; 4_096]);
    thread::sleep(Duration::from_secs(1));
    {
        let mut counts = counts.lock().expect("our own lock");
        (counts.0, counts.2) = (counts.0 - 1, counts.2 + 1);
    }
    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}
