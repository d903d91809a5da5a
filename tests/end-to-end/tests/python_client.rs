//! The client in Python against a real host.

use std::process::Command;

use anyhow::{Result, ensure};
use end_to_end::TestHost;
use host_process::project_root;

#[test]
fn the_tests_of_the_python_client_pass() -> Result<()> {
    let python = project_root().join("target/python/venv/bin/python");
    ensure!(python.is_file(), "{} is not there; run `cargo xtask languages` first", python.display());
    let config = "[queue.work]\nbindings = [\"work.#\"]\n[queue.work.consumer.outside]\npull = true\n";
    let host = TestHost::start(config)?;
    let folder = project_root().join("sdk/client/python");
    let mut tests = Command::new(python);
    tests.args(["-m", "unittest", "discover", "--start-directory", "tests"]).current_dir(&folder);
    tests.env("PYTHONPATH", &folder).env("PYTHONDONTWRITEBYTECODE", "1").env("WASMILL_URL", host.client().url());
    let output = tests.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("Ran 31 tests"), "{said}");
    Ok(())
}
