//! Components that are signed, and hosts that ask for it.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::json;
use support::{Served, guest, run};

/// A folder with keys of two people, and a component signed by the first.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        desk.ok(&["keygen", "ann.key"]);
        desk.ok(&["keygen", "bob.key"]);
        fs::copy(guest("guest-panic"), desk.path("work.wasm")).expect("our own folder");
        desk.sign("ann");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, who: &str) {
        self.ok(&["sign", "work.wasm", "--key", &format!("{who}.key")]);
    }

    fn key(&self, who: &str) -> String {
        self.read(&format!("{who}.key.pub")).trim_end().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("our own folder");
    }

    /// Run `wasmill handler …` without a host.
    fn ok(&self, arguments: &[&str]) -> String {
        let said = run(self.folder.path(), &[&["handler"], arguments].concat());
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.out
    }

    #[track_caller]
    fn check_refused(&self, arguments: &[&str], part: &str) {
        let said = run(self.folder.path(), &[&["handler"], arguments].concat());
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains(part), "{arguments:?} should say {part:?} and said {}", said.err);
    }

    /// Start a host in this folder that trusts these.
    fn serve(&self, trusted: &[&str], required: bool) -> Served {
        let trusted: Vec<String> = trusted.iter().map(|who| self.key(who)).collect();
        let queue = "[queue.q]\nbindings = [\"t\"]\n[queue.q.consumer.c]\nhandler = \"work\"\nattempts = 1\n";
        self.write(
            "c.toml",
            format!("[signatures]\ntrusted = {trusted:?}\nrequired = {required}\n[handler.work]\n{queue}"),
        );
        Served::start(self.folder.path(), &["--config", "c.toml"])
    }
}

#[test]
fn a_signature_is_checked_without_a_host() {
    let desk = Desk::new();
    let (ann, bob) = (desk.key("ann"), desk.key("bob"));
    let said = desk.ok(&["verify", "work.wasm", "--trusted", &ann]);
    assert!(said.ends_with(&format!("is signed by {ann}\n")), "{said}");
    desk.ok(&["verify", "work.wasm", "--trusted", "bob.key.pub", "ann.key.pub"]);
    desk.check_refused(
        &["verify", "work.wasm", "--trusted", &bob],
        &format!("is signed by {ann}, which this host does not trust"),
    );
    desk.check_refused(&["verify", "work.wasm", "--trusted", "ann.key"], "this is a private key");
    desk.check_refused(&["verify", "work.wasm", "--trusted", &ann, "--signature", "none"], "cannot read none");

    let mut wasm = fs::read(desk.path("work.wasm")).expect("copied");
    *wasm.last_mut().expect("not empty") ^= 1;
    desk.write("work.wasm", &wasm);
    desk.check_refused(&["verify", "work.wasm", "--trusted", &ann], "the signature, by ed25519:");
    let signature = desk.read("work.wasm.sig");
    desk.write("work.wasm.sig", &signature[..signature.len() / 2 + 20]);
    desk.check_refused(&["verify", "work.wasm", "--trusted", &ann], "work.wasm.sig: ");
    desk.write("work.wasm.sig", "");
    desk.check_refused(&["verify", "work.wasm", "--trusted", &ann], "is no signature");
}

#[test]
fn keys_are_private_and_never_written_over() {
    let desk = Desk::new();
    let mode = fs::metadata(desk.path("ann.key")).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = desk.read("ann.key");
    desk.check_refused(&["keygen", "ann.key"], "is there already, and is not written over");
    fs::remove_file(desk.path("ann.key.pub")).expect("written");
    desk.check_refused(&["keygen", "ann.key"], "ann.key is there already, and is not written over");
    assert_eq!(desk.read("ann.key"), before);
    assert!(!desk.path("ann.key.pub").exists());

    desk.check_refused(&["sign", "work.wasm", "--key", "bob.key.pub"], "this is no Ed25519 private key");
    desk.check_refused(&["sign", "work.wasm", "--key", "work.wasm"], "this is no Ed25519 private key");
    desk.check_refused(&["sign", "none.wasm", "--key", "bob.key"], "cannot read none.wasm");
}

#[test]
fn a_host_that_requires_signatures_loads_nothing_else() {
    let desk = Desk::new();
    let host = desk.serve(&["ann"], true);
    let load = |name: &str| host.cli(&["handler", "load", name, "work.wasm"]);
    let said = load("work");
    assert_eq!(said.code, 0, "the signature beside it is found: {said:?}");
    assert!(said.out.contains(&format!("signed by: {}\n", desk.key("ann"))), "{}", said.out);
    assert_eq!(host.json(&["handler", "show", "work"])["signed_by"], json!(desk.key("ann")));

    fs::copy(guest("guest-noop"), desk.path("work.wasm")).expect("our own folder");
    assert!(load("work").err.contains("(signature-mismatch)"), "another component under the old signature");
    desk.sign("bob");
    let said = load("work").err;
    assert!(
        said.contains("(signature-untrusted)") && said.contains(&desk.key("bob")) && said.contains(&desk.key("ann"))
    );
    fs::rename(desk.path("work.wasm.sig"), desk.path("elsewhere")).expect("our own folder");
    let said = load("work").err;
    assert!(said.contains("(signature-missing)") && said.contains("wasmill handler sign"), "{said}");
    assert!(load("other").err.contains("(signature-missing)"), "nor under another name");
    host.refused(&["handler", "load", "work", "work.wasm", "--signature", "elsewhere"]);
    desk.write("elsewhere", "ed25519:nonsense");
    assert!(
        host.cli(&["handler", "load", "work", "work.wasm", "--signature", "elsewhere"]).err.contains("elsewhere: ")
    );

    let shown = host.json(&["handler", "show", "work"]);
    assert_eq!((&shown["signed_by"], &shown["problem"]), (&json!(desk.key("ann")), &json!(null)), "the old one stays");
    host.ok(&["publish", "t", "1"]);
    let quarantined = host.json_until(&["quarantine", "list"], |list| list["quarantined"][0]["id"].is_number());
    let id = quarantined["quarantined"][0]["id"].to_string();
    let record = host.json(&["quarantine", "show", &id]);
    assert_eq!(record["attempts"][0]["digest"], shown["digest"], "attempts name the version that ran: {record:#}");
}

#[test]
fn keys_are_changed_by_trusting_both_for_a_while() {
    let desk = Desk::new();
    let host = desk.serve(&["ann", "bob"], true);
    host.ok(&["handler", "load", "work", "work.wasm"]);
    desk.sign("bob");
    let again = host.json(&["handler", "load", "work", "work.wasm"]);
    assert_eq!((&again["changed"], &again["signed_by"]), (&json!(false), &json!(desk.key("bob"))), "signed anew");
    host.stop();
    let host = desk.serve(&["bob"], true);
    let shown = host.json_until(&["handler", "show", "work"], |shown| shown["imports"][0].is_string());
    assert_eq!((&shown["signed_by"], &shown["problem"]), (&json!(desk.key("bob")), &json!(null)));
}

#[test]
fn a_signature_that_comes_later_lets_a_file_of_the_folder_in() {
    let desk = Desk::new();
    let mut host = desk.serve(&["ann"], true);
    fs::create_dir(desk.path("handlers")).expect("our own folder");
    fs::copy(desk.path("work.wasm"), desk.path("handlers/work.wasm")).expect("our own folder");
    host.wait_for_log("has no signature, and this host runs only what a trusted key signed");
    fs::copy(desk.path("work.wasm.sig"), desk.path("handlers/work.wasm.sig")).expect("our own folder");
    host.json_until(&["handler", "show", "work"], |shown| shown["signed_by"] == json!(desk.key("ann")));
}

/// What ran before signatures were required rests, and goes on once it is signed.
#[test]
fn requiring_signatures_covers_what_the_store_holds() {
    let desk = Desk::new();
    fs::copy(guest("guest-noop"), desk.path("work.wasm")).expect("our own folder");
    let signature = desk.path("work.wasm.sig");
    fs::remove_file(&signature).expect("written");
    let host = desk.serve(&[], false);
    host.ok(&["handler", "load", "work", "work.wasm"]);
    host.stop();

    let host = desk.serve(&["ann"], true);
    let problem = host.json_until(&["handler", "show", "work"], |shown| {
        shown["problem"].as_str().is_some_and(|problem| problem.contains("has no signature"))
    });
    assert_eq!(problem["imports"], json!([]));
    host.ok(&["publish", "t", "1"]);
    let rests = |list: &serde_json::Value| list["consumers"][0]["paused"]["kind"] == "handler";
    let list = host.json_until(&["consumer", "list"], rests);
    assert!(list.to_string().contains("has no signature"), "{list:#}");

    desk.sign("ann");
    host.ok(&["handler", "load", "work", "work.wasm"]);
    let goes_on = |list: &serde_json::Value| list["consumers"][0]["lag"] == 0;
    let list = host.json_until(&["consumer", "list"], goes_on);
    assert_eq!(list["consumers"][0]["paused"], json!(null));
    host.stop();
    let host = desk.serve(&["ann"], true);
    host.json_until(&["handler", "show", "work"], |shown| shown["signed_by"] == json!(desk.key("ann")));
    host.stop();

    let digest = sha256_of_only_component(&desk.path("wasmill-data/components"));
    fs::write(&digest, "ed25519:").expect("the store's folder");
    let host = desk.serve(&["ann"], true);
    host.json_until(&["handler", "show", "work"], |shown| {
        shown["problem"].as_str().is_some_and(|problem| problem.contains("is damaged"))
    });
}

fn sha256_of_only_component(components: &Path) -> PathBuf {
    let files = fs::read_dir(components).expect("the store's folder").map(|entry| entry.expect("readable").path());
    let signatures: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "sig")).collect();
    assert_eq!(signatures.len(), 1, "{signatures:?}");
    signatures[0].clone()
}

#[test]
fn a_host_that_asks_for_nothing_keeps_what_it_is_given() {
    let desk = Desk::new();
    let host = desk.serve(&[], false);
    host.ok(&["handler", "load", "work", "work.wasm"]);
    host.stop();
    let host = desk.serve(&["ann"], true);
    host.json_until(&["handler", "show", "work"], |shown| shown["signed_by"] == json!(desk.key("ann")));
    host.stop();
    // Whose key was withdrawn is fine while nobody asks.
    let host = desk.serve(&["bob"], false);
    let shown = host.json_until(&["handler", "show", "work"], |shown| shown["imports"][0].is_string());
    assert_eq!(shown["problem"], json!(null));
    let said = host.cli(&["handler", "load", "work", "work.wasm"]);
    assert!(said.err.contains("(signature-untrusted)"), "what is given has to be good: {said:?}");
}

#[test]
fn the_configuration_of_signatures_is_checked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (text, part) in [
        ("required = true", "no key is trusted, so nothing could run"),
        ("trusted = [\"ed25519:AAAA\"]", "it has 3 bytes instead of 32"),
        ("trusted = [\"ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]", "everybody can sign for it"),
        ("trust = []", "did you mean `trusted`?"),
    ] {
        fs::write(folder.path().join("c.toml"), format!("[signatures]\n{text}\n")).expect("our own folder");
        let said = run(folder.path(), &["serve", "--config", "c.toml"]);
        assert!(said.code == 1 && said.err.contains(part), "{text}: {said:?}");
    }
}
