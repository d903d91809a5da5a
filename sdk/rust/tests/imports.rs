//! A component's imports are the list of what its handler asks for. So a handler must import nothing of the contract
//! that it does not call, which only a component as Cargo builds it can show.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use wasmparser::{Parser, Payload};

/// What the standard library brings along, whatever a handler does: for panics, printing and memory.
const STANDARD_LIBRARY: &str = "wasi:";

#[test]
fn a_component_imports_what_its_handler_calls_and_nothing_more() {
    build(&["guest-noop", "quakes-alert", "quakes-region-stats", "conformance-rust"]);
    for (package, expected) in [
        ("guest-noop", &[][..]),
        ("quakes-alert", &["wasi:config/store@0.2.0-draft", "wasmill:handler/producer@0.1.0"]),
        ("quakes-region-stats", &["wasmill:handler/state@0.1.0"]),
        (
            "conformance-rust",
            &["wasi:config/store@0.2.0-draft", "wasmill:handler/producer@0.1.0", "wasmill:handler/state@0.1.0"],
        ),
    ] {
        let imports = imports(package);
        assert_eq!(of_the_contract(&imports), expected, "{package} imports {imports:#?}");
        let sends = imports.iter().any(|name| name.starts_with("wasi:http/outgoing-handler@"));
        assert_eq!(sends, package == "conformance-rust", "{package} imports {imports:#?}");
    }
}

fn of_the_contract(imports: &BTreeSet<String>) -> Vec<&str> {
    let is_types = |name: &str| name.starts_with("wasmill:handler/types@");
    let is_standard = |name: &str| name.starts_with(STANDARD_LIBRARY) && !name.starts_with("wasi:config/");
    imports.iter().map(String::as_str).filter(|name| !is_types(name) && !is_standard(name)).collect()
}

fn build(packages: &[&str]) {
    let packages = packages.iter().flat_map(|package| ["-p", package]);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(target_dir())
        .args(packages)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the guests do not build; is the target wasm32-wasip2 installed?");
}

fn target_dir() -> PathBuf {
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().expect("Cargo's folder for tests is inside its target folder").to_owned()
}

fn imports(package: &str) -> BTreeSet<String> {
    let file = target_dir().join("wasm32-wasip2/guest").join(package.replace('-', "_")).with_extension("wasm");
    let component = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut names = BTreeSet::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(&component) {
        let payload = payload.expect("a valid component");
        if matches!(payload, Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) {
            depth += 1;
        }
        if let Payload::ComponentImportSection(section) = &payload
            && depth == 0
        {
            names.extend(section.clone().into_iter().map(|import| import.expect("an import").name.name.to_owned()));
        }
        if matches!(payload, Payload::End(_)) {
            depth = depth.saturating_sub(1);
        }
    }
    names
}
