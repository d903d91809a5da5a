//! The bindings for C in `sdk/c` are what the generator makes of the contract. `WASMILL_UPDATE=1` writes them anew.

use std::{fs, path::Path};

use wasmill_componentize::{World, resolve};
use wit_bindgen_core::Files;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../c/wasmill/bindings");

fn generated(world: World) -> Vec<(String, String)> {
    let options = wit_bindgen_c::Opts { no_object_file: true, ..Default::default() };
    let (mut resolve, id) = resolve(world);
    let mut files = Files::default();
    options.build().generate(&mut resolve, id, &mut files).expect("the generator knows all of the contract");
    let texts = files.iter().map(|(name, bytes)| (name.to_owned(), String::from_utf8_lossy(bytes).into_owned()));
    texts.collect()
}

#[test]
fn the_bindings_for_c_are_up_to_date() {
    let files = [generated(World::Contract), generated(World::OutgoingHttp)].concat();
    assert_eq!(files.len(), 4);
    for (name, text) in files {
        let path = Path::new(FOLDER).join(&name);
        if std::env::var_os("WASMILL_UPDATE").is_some() {
            fs::write(&path, &text).expect("the folder can be written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{name} is not what the contract says; run this test with WASMILL_UPDATE=1");
    }
}
