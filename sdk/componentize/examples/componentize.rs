//! `wasmill componentize` without a `wasmill`: `componentize core.wasm component.wasm`.

use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(module), Some(component)) = (arguments.next(), arguments.next()) else {
        return Err("say which core module, and where its component shall be written".into());
    };
    fs::write(component, wasmill_componentize::componentize(&fs::read(module)?)?)?;
    Ok(())
}
