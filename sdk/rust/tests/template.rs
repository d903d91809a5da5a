//! The template carries manifests of its own for its copy of the SDK, because those here inherit from the workspace. They must
//! say the same.

use std::{fs, path::Path};

use toml::{Table, Value};

#[test]
fn the_template_builds_the_sdk_with_the_same_dependencies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| -> Table {
        let path = root.join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).parse().expect("TOML")
    };
    let workspace = read("../../Cargo.toml");
    let of_workspace = &workspace["workspace"];
    for (ours, theirs) in [
        ("Cargo.toml", "template/vendor/wasmill/Cargo.toml"),
        ("macros/Cargo.toml", "template/vendor/wasmill-macros/Cargo.toml"),
    ] {
        let (ours, theirs_table) = (read(ours), read(theirs));
        assert_eq!(ours.get("features"), theirs_table.get("features"), "{theirs}");
        for field in ["name", "description"] {
            assert_eq!(ours["package"].get(field), theirs_table["package"].get(field), "{theirs}");
        }
        for field in ["version", "edition", "rust-version", "license"] {
            assert_eq!(of_workspace["package"].get(field), theirs_table["package"].get(field), "{theirs}");
        }
        let wanted = dependencies(&ours, &of_workspace["dependencies"]);
        assert_eq!(dependencies(&theirs_table, &of_workspace["dependencies"]), wanted, "{theirs}");
    }
}

/// Each dependency, in words, with what it inherits; ours are by their path, which differs, and only named.
fn dependencies(manifest: &Table, of_workspace: &Value) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = targets.filter_map(Value::as_table).chain([manifest]);
    let all = tables.filter_map(|table| table.get("dependencies")).filter_map(Value::as_table).flatten();
    let mut named: Vec<String> = all
        .map(|(name, given)| {
            let inherits = given.get("workspace").is_some();
            let base = if inherits { &of_workspace[name.as_str()] } else { given };
            let field = |field: &str| given.get(field).or_else(|| base.get(field)).map(ToString::to_string);
            let version = base.as_str().map(ToOwned::to_owned);
            let version = version.or_else(|| base.get("version").and_then(Value::as_str).map(ToOwned::to_owned));
            format!(
                "{name} {version:?} {:?} {:?} {:?}",
                field("default-features"),
                field("features"),
                field("optional")
            )
        })
        .collect();
    named.sort();
    named
}
