//! The components in Rust that are there in other languages too. `guests` builds them; they only get their places beside those.

use anyhow::{Context as _, Result};

use crate::{guests::copy_if_changed, shell::project_root};

const COMPONENTS: [(&str, &str); 2] = [("conformance-rust", "conformance"), ("quake-alerts-rust", "quake-alert")];

/// Put them into `target/languages/rust`.
pub(crate) fn build() -> Result<()> {
    let (guests, folder) = (project_root().join("target/guests"), project_root().join("target/languages/rust"));
    std::fs::create_dir_all(&folder)?;
    for (package, name) in COMPONENTS {
        let from = guests.join(package).with_extension("wasm");
        copy_if_changed(&from, &folder.join(name).with_extension("wasm"))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}
