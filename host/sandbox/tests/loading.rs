//! What is taken for a handler, what is not, and what the one who made it is told.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use common::{
    guest::{Guest, OK, Use},
    host::{Host, delivery, succeeded},
};
use wasmill_sandbox::{
    LoadError, Sandbox, SandboxError, SandboxOptions, Session, StagedState, limits::COMPONENT_BYTES_MAX,
};

fn refusal(wasm: &[u8]) -> LoadError {
    Host::new().sandbox.load(wasm).expect_err("it must not fit")
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    let error = refusal(&component("(module)"));
    assert!(matches!(error, LoadError::CoreModule), "{error}");
    assert!(error.to_string().contains("wasm32-wasip2"), "{error}");
}

#[test]
fn what_is_no_webassembly_is_said_to_be_none() {
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b"(component)", "text format"),
        (b"#!/bin/sh", "23, 21, 2f, 62"),
        (b"\0as", "00, 61, 73"),
    ] {
        let error = refusal(bytes);
        assert!(matches!(error, LoadError::NotWebAssembly { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(matches!(refusal(b"\0asm\x63\0\x01\0"), LoadError::Malformed { .. }));
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let host = Host::new();
    let whole = Guest::new(OK).using(&[Use::Producer, Use::State]).build();
    let mut malformed = 0;
    for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        match host.sandbox.load(&whole[..length]) {
            Err(LoadError::Malformed { .. }) => malformed += 1,
            Err(LoadError::NotWebAssembly { .. }) if length < 8 => {}
            // Cut between two sections it is a sound component with less in it.
            Err(LoadError::MissingExport { .. }) => {}
            other => panic!("cut at {length}: {other:?}"),
        }
    }
    assert!(malformed > whole.len() / 10, "{malformed}");
}

#[test]
fn random_bytes_are_refused() {
    let host = Host::new();
    let whole = Guest::new(OK).using(&[Use::Producer]).build();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..=next() % 4 {
            let at = 8 + usize::try_from(next() % (bytes.len() as u64 - 8)).unwrap();
            bytes[at] = next().to_le_bytes()[0];
        }
        // Some changes do no harm; none may bring the host down.
        let _ = host.sandbox.load(&bytes);
        let noise: Vec<u8> = (0..200).map(|_| next().to_le_bytes()[0]).collect();
        assert!(host.sandbox.load(&noise).is_err());
        let noise = [&whole[..8], &noise].concat();
        assert!(matches!(
            host.sandbox.load(&noise),
            Err(LoadError::Malformed { .. } | LoadError::MissingExport { .. })
        ));
    }
}

#[test]
fn another_world_is_told_what_it_exports() {
    let error = refusal(&component(r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#));
    let LoadError::MissingExport { exports } = &error else { panic!("{error}") };
    assert_eq!(exports, &["wasi:cli/run@0.2.0"]);
    assert!(error.to_string().contains("wasmill:handler/handler@0.1.0"), "{error}");
    assert!(refusal(&component("(component)")).to_string().contains("exports nothing"));
}

#[test]
fn a_handler_of_another_shape_is_refused() {
    let other = r#"(component
      (core module $m (func (export "handle") (param i32)))
      (core instance $i (instantiate $m))
      (func $handle (param "delivery" u32) (canon lift (core func $i "handle")))
      (instance $handler (export "HANDLE" (func $handle)))
      (export "wasmill:handler/handler@0.1.0" (instance $handler)))"#;
    let error = refusal(&component(&other.replace("HANDLE", "handle")));
    assert!(matches!(error, LoadError::WrongExport { .. }), "{error}");
    let error = refusal(&component(&other.replace("HANDLE", "handel")));
    assert!(matches!(error, LoadError::WrongExport { .. }), "{error}");
}

#[test]
fn what_it_imports_in_vain_is_named() {
    let guest = Guest::new(OK).text();
    let imports = r#"(component
      (import "wasi:http/incoming-handler@0.2.4" (instance (export "handle" (func)) (export "other" (func))))
      (import "acme:tools/paint@1.0.0" (instance (export "paint" (func))))
      (import "acme:tools/types@1.0.0" (instance (type $colour (enum "red")) (export "colour" (type (eq $colour)))))"#;
    let error = refusal(&component(&guest.replacen("(component", imports, 1)));
    let LoadError::UnknownImports { imports } = &error else { panic!("{error}") };
    assert_eq!(imports, &["wasi:http/incoming-handler@0.2.4 (handle, other)", "acme:tools/paint@1.0.0 (paint)"]);

    let no_such_function = r#"(component (import "wasmill:handler/state@0.1.0" (instance (export "append" (func))))"#;
    let error = refusal(&component(&guest.replacen("(component", no_such_function, 1)));
    assert!(matches!(error, LoadError::WrongImport { .. }), "{error}");
    assert!(error.to_string().contains("append"), "{error}");
}

#[test]
fn a_component_that_is_too_large_is_not_read() {
    let mut wasm = Guest::new(OK).build();
    wasm.resize(COMPONENT_BYTES_MAX + 1, 0);
    let error = refusal(&wasm);
    assert!(matches!(error, LoadError::TooLarge { bytes } if bytes == COMPONENT_BYTES_MAX + 1), "{error}");
}

#[test]
fn a_component_beyond_the_pool_does_not_compile() {
    let tables = "(table 200000 funcref)";
    let error = refusal(&Guest::new(OK).with(tables).build());
    assert!(matches!(error, LoadError::Compile { .. }), "{error}");
    assert!(error.to_string().contains("100000"), "{error}");
}

#[test]
fn imports_are_listed() {
    let host = Host::new();
    let program = host.load(&Guest::new(OK).using(&[Use::State, Use::Producer, Use::Exit]));
    assert_eq!(
        program.imports(),
        ["wasi:cli/exit@0.2.0", "wasmill:handler/producer@0.1.0", "wasmill:handler/state@0.1.0"]
    );
    assert!(host.load(&Guest::new(OK)).imports().is_empty());
}

#[test]
fn the_same_component_is_the_same_program() {
    let host = Host::new();
    let first = host.load(&Guest::new(OK));
    assert!(Arc::ptr_eq(&first, &host.load(&Guest::new(OK))));
    assert_ne!(first.digest(), host.load(&Guest::new("(unreachable)")).digest());
}

fn compiled_files(host: &Host) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(host.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn runs(host: &Host, guest: &Guest) {
    let sandbox = Sandbox::new(SandboxOptions { instances_max: 8, ..SandboxOptions::new(host.folder.path()) }).unwrap();
    let program = sandbox.load(&guest.build()).unwrap();
    let mut session = Session::new(program, Arc::new(host.context()));
    succeeded(session.run(&delivery(1, 1), &mut StagedState::default()).await);
}

#[tokio::test]
async fn compiled_code_is_kept_and_used_again() {
    let host = Host::new();
    let guest = Guest::new(OK);
    assert!(compiled_files(&host).is_empty());
    let digest = host.load(&guest).digest();
    let files = compiled_files(&host);
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(fs::metadata(host.folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    let modified = || files.iter().map(|file| fs::metadata(file).unwrap().modified().unwrap()).collect::<Vec<_>>();
    let before = modified();
    runs(&host, &guest).await;
    assert_eq!(modified(), before, "nothing was compiled again");

    host.sandbox.forget(&digest);
    assert!(compiled_files(&host).is_empty());
}

#[tokio::test]
async fn damaged_code_is_compiled_again() {
    let host = Host::new();
    let guest = Guest::new(OK);
    drop(host.load(&guest));
    let files = compiled_files(&host);
    let sound: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    for damaged in 0..files.len() {
        for content in [flipped(&sound[damaged]), sound[damaged][..sound[damaged].len() / 2].to_vec(), Vec::new()] {
            fs::remove_file(&files[damaged]).unwrap();
            fs::write(&files[damaged], content).unwrap();
            runs(&host, &guest).await;
            let mended: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
            assert_eq!(mended[1], wasm_checksum(&mended[0]), "{}", files[damaged].display());
        }
    }
}

fn wasm_checksum(code: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    wasmill_delivery::name::Digest(Sha256::digest(code).into()).to_string().into_bytes()
}

#[test]
fn what_other_engines_left_is_removed_and_nothing_else() {
    let host = Host::new();
    drop(host.load(&Guest::new(OK)));
    let keep = compiled_files(&host);
    let digest = "ab".repeat(32);
    for name in [
        format!("{digest}-0123456789abcdef.cwasm"),
        format!("{digest}-0123456789abcdef.cwasm.sha256"),
        "12-3.unfinished".to_owned(),
    ] {
        fs::write(host.folder.path().join(name), "old").unwrap();
    }
    let foreign = host.folder.path().join("notes.txt");
    fs::write(&foreign, "mine").unwrap();
    Sandbox::new(SandboxOptions::new(host.folder.path())).unwrap();
    let mut expected = keep;
    expected.push(foreign);
    expected.sort();
    assert_eq!(compiled_files(&host), expected);
}

#[test]
fn in_a_shared_folder_nothing_of_others_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let options =
            SandboxOptions { compiled_folder_shared: true, instances_max: 8, ..SandboxOptions::new(folder.path()) };
        Sandbox::new(options).unwrap()
    };
    let hour = std::time::Duration::from_secs(3_600);
    let set_age = |path: &std::path::Path, age| {
        fs::File::open(path).unwrap().set_modified(std::time::SystemTime::now() - age).unwrap();
    };
    open().load(&Guest::new(OK).build()).unwrap();
    let own = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let digest = "ab".repeat(32);
    let of_another = format!("{digest}-0123456789abcdef.cwasm");
    let others = [
        folder.path().join("0123456789abcdef").join(&of_another),
        folder.path().join(&of_another),
        own.join("1-3.unfinished"),
    ];
    fs::create_dir(folder.path().join("0123456789abcdef")).unwrap();
    let left = own.join("1-4.unfinished");
    for path in others.iter().chain([&left]) {
        fs::write(path, "another's").unwrap();
    }
    set_age(&left, hour * 2);
    let mut files = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path());
    let code = files.find(|path| path.to_string_lossy().ends_with(".cwasm")).unwrap();
    set_age(&code, hour * 9);
    open().load(&Guest::new(OK).build()).unwrap();
    assert!(others.iter().all(|path| path.exists()), "what another process needs is gone");
    assert!(!left.exists(), "what nobody finishes stays for ever");
    assert!(code.metadata().unwrap().modified().unwrap().elapsed().unwrap() < hour, "its use is not noted");
}

#[test]
fn options_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for given in [0, 4_097] {
        let Err(error) = Sandbox::new(SandboxOptions { instances_max: given, ..SandboxOptions::new(folder.path()) })
        else {
            panic!("{given} instances")
        };
        assert!(matches!(error, SandboxError::Instances { .. }), "{error}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(error) = Sandbox::new(SandboxOptions::new(&file)) else { panic!("a file is no folder") };
    assert!(error.to_string().contains("file"), "{error}");
}
