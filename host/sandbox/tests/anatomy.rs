//! What is told of components from their bytes alone.
#![allow(missing_docs, clippy::unwrap_used)]

use wasmill_sandbox::{Anatomy, Interface};

/// A section of that name with a language, an SDK or a tool, as tools write it.
fn producers(field: &str, name: &str, version: &str) -> String {
    let text = |text: &str| format!("\\{:02x}{text}", text.len());
    format!("(@custom \"producers\" \"\\01{}\\01{}{}\")", text(field), text(name), text(version))
}

fn component() -> String {
    format!(
        r#"(component
            (import "wasi:config/store@0.2.0-draft" (instance
                (type $text string)
                (export "get" (func (param "key" $text)))))
            (import "wasmill:handler/types@0.1.0" (instance (export "a" (type (sub resource)))))
            (core module $first (@name "handler.wasm") (memory 2) {language})
            (core module $second (memory 1 10) (memory 0) {tool})
            (component (core module (memory 4)) {sdk})
            (core instance (instantiate $first))
            {tool}
        )"#,
        language = producers("language", "Rust", ""),
        tool = producers("processed-by", "rustc", "1.95.0"),
        sdk = producers("sdk", "wasmill", "0.1.0"),
    )
}

#[test]
fn a_component_is_taken_apart() {
    let wasm = wat::parse_str(component()).unwrap();
    let anatomy = Anatomy::of(&wasm);
    assert!(anatomy.is_component && anatomy.damage.is_none(), "{anatomy:?}");
    assert_eq!(anatomy.world, None);
    let config = Interface { name: "wasi:config/store@0.2.0-draft".to_owned(), functions: vec!["get".to_owned()] };
    let types = Interface { name: "wasmill:handler/types@0.1.0".to_owned(), functions: Vec::new() };
    assert_eq!(anatomy.imports, [config, types]);
    assert_eq!(anatomy.memory_bytes, (2 + 1 + 4) * 65_536, "of all modules, nested ones too");
    assert_eq!(anatomy.modules.len(), 3);
    assert_eq!(anatomy.modules[0].name.as_deref(), Some("handler.wasm"));
    assert!(anatomy.modules.iter().all(|module| module.bytes > 8 && module.bytes < wasm.len() as u64));
    let found: Vec<(&str, &str, &str)> = anatomy
        .producers
        .iter()
        .flat_map(|(field, values)| {
            values.iter().map(|(name, version)| (field.as_str(), name.as_str(), version.as_str()))
        })
        .collect();
    assert_eq!(found, [("language", "Rust", ""), ("processed-by", "rustc", "1.95.0"), ("sdk", "wasmill", "0.1.0")]);
    assert!(anatomy.sections["custom: producers"] > 0);
}

#[test]
fn a_core_module_is_none() {
    let wasm = wat::parse_str("(module (memory 3) (func (export \"run\")))").unwrap();
    let anatomy = Anatomy::of(&wasm);
    assert!(!anatomy.is_component && anatomy.imports.is_empty() && anatomy.modules.is_empty(), "{anatomy:?}");
    assert_eq!(anatomy.memory_bytes, 3 * 65_536);
}

#[test]
fn what_is_damaged_is_told_as_far_as_it_goes() {
    let wasm = wat::parse_str(component()).unwrap();
    let anatomy = Anatomy::of(&wasm[..wasm.len() - 10]);
    assert!(anatomy.is_component && anatomy.damage.is_some(), "{anatomy:?}");
    assert_eq!(anatomy.imports.len(), 2);
    for length in 0..wasm.len() {
        // Whatever it is, it is no panic.
        drop(Anatomy::of(&wasm[..length]));
    }
}
