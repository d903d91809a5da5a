//! Core modules in the text format, and what becomes of them.

use wasmill_componentize::{Error, componentize};
use wit_parser::decoding::{DecodedWasm, decode};

/// A module that publishes nothing and always succeeds; `more` is what else it has.
fn module(more: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {more}
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
            (func (export "wasmill:handler/handler@0.1.0#handle") (param i32) (result i32) i32.const 0))"#
    );
    wat::parse_str(text).expect("the text format")
}

fn imports(component: &[u8]) -> Vec<String> {
    let DecodedWasm::Component(resolve, world) = decode(component).expect("a component") else {
        panic!("a package of WIT, and no component");
    };
    resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect()
}

fn error(module: &[u8]) -> Error {
    componentize(module).expect_err("there must be no component")
}

#[test]
fn a_module_that_imports_nothing_makes_a_component_that_needs_only_types() {
    let component = componentize(&module("")).expect("it exports a handler");
    assert_eq!(imports(&component), ["wasmill:handler/types@0.1.0"]);
}

#[test]
fn a_component_imports_what_its_module_imports() {
    let state = r#"(import "wasmill:handler/state@0.1.0" "increment" (func (param i32 i32 i64 i32)))"#;
    let found = imports(&componentize(&module(state)).expect("it exports a handler"));
    assert!(found.contains(&"wasmill:handler/state@0.1.0".to_owned()), "{found:?}");
    assert!(!found.iter().any(|name| name.contains("producer") || name.contains("http")), "{found:?}");
}

#[test]
fn imports_of_the_first_wasi_become_those_of_components() {
    let random = r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))"#;
    let found = imports(&componentize(&module(random)).expect("it exports a handler"));
    assert!(found.iter().any(|name| name.starts_with("wasi:random/random@0.2")), "{found:?}");
}

#[test]
fn a_module_for_many_deliveries_is_known_by_its_export() {
    let batch = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
        (func (export "wasmill:handler/batch-handler@0.1.0#handle-batch") (param i32 i32) (result i32) i32.const 0))"#;
    let component = componentize(&wat::parse_str(batch).expect("the text format")).expect("it exports a handler");
    let DecodedWasm::Component(resolve, world) = decode(&component).expect("a component") else {
        panic!("no component")
    };
    let exports: Vec<_> = resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect();
    assert_eq!(exports, ["wasmill:handler/batch-handler@0.1.0"]);
}

#[test]
fn what_is_no_module_is_refused_with_the_reason() {
    assert!(matches!(error(b"\x7fELF"), Error::NoModule(_)));
    assert!(matches!(error(&wat::parse_str("(component)").expect("the text format")), Error::Component));
}

#[test]
fn a_module_without_a_handler_is_refused_with_what_it_exports() {
    let program = wat::parse_str(r#"(module (func (export "_start")))"#).expect("the text format");
    let said = error(&program).to_string();
    assert!(said.contains("wasmill:handler/handler@0.1.0#handle") && said.contains("It exports _start"), "{said}");
    assert!(said.contains("-mexec-model=reactor"), "{said}");
}

#[test]
fn an_import_that_no_handler_has_is_refused_by_name() {
    let said = error(&module(r#"(import "env" "missing" (func))"#)).to_string();
    assert!(said.contains("env") && said.contains("missing"), "{said}");
}

#[test]
fn a_module_of_go_is_not_called_before_it_is_initialised() {
    let random = r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))"#;
    let other = componentize(&module(random)).expect("it exports a handler");
    let go = componentize(&module(&format!(r#"{random} (@custom "go:buildid" "x")"#))).expect("it exports a handler");
    assert!(grows_of(&go) > grows_of(&other), "the adapter must allocate by growing memory");
}

/// How often its modules grow a memory.
fn grows_of(component: &[u8]) -> usize {
    use wasmparser_core::{Operator, Parser, Payload};
    let bodies = Parser::new(0).parse_all(component).filter_map(|payload| {
        let Payload::CodeSectionEntry(body) = payload.expect("valid") else { return None };
        Some(body)
    });
    bodies
        .flat_map(|body| body.get_operators_reader().expect("valid").into_iter())
        .filter(|operator| matches!(operator, Ok(Operator::MemoryGrow { .. })))
        .count()
}
