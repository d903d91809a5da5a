//! `project.toml`: what `wasmill dev`, `test` and `inspect` know of the folder that a handler is written in.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// Its name.
pub(crate) const PROJECT_FILE: &str = "project.toml";

/// What it says. Paths are relative to its folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Project {
    /// A shell command that builds the component.
    pub(crate) build: String,
    /// The component that it makes.
    pub(crate) component: PathBuf,
    /// Files and folders whose change asks for a build.
    pub(crate) watch: Vec<PathBuf>,
    /// Messages to publish, one in each line.
    pub(crate) samples: Option<PathBuf>,
}

impl Project {
    /// The project of a folder.
    ///
    /// # Errors
    /// When there is none, or its file says what it cannot.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let found = Self::find(folder)?;
        found.with_context(|| {
            format!(
                "there is no {PROJECT_FILE} in {}; go to the folder of a handler's project, or make one: wasmill new NAME \
                 --lang LANGUAGE",
                shown(folder).display()
            )
        })
    }

    /// The project of a folder, if it is one.
    ///
    /// # Errors
    /// When its file says what it cannot.
    pub(crate) fn find(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(PROJECT_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Self::parse(&text).map(Some).with_context(|| path.display().to_string())
    }

    /// # Errors
    /// When a key is missing, unknown or of another kind.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}

fn shown(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_said_with_their_place() {
        let project = Project::parse("build = \"make\"\ncomponent = \"a.wasm\"\nwatch = [\"src\"]\n").expect("good");
        assert_eq!((project.build.as_str(), project.samples), ("make", None));
        for (text, words) in [
            ("build = \"make\"\n", "missing field `component`"),
            ("build = \"make\"\ncomponent = \"a\"\nwatch = []\nsample = \"x\"\n", "unknown field `sample`"),
            ("build = 3\n", "line 1"),
        ] {
            let said = format!("{:#}", Project::parse(text).expect_err(text));
            assert!(said.contains(words), "{said}");
        }
        let said = format!("{:#}", Project::read(Path::new("/nowhere")).expect_err("no folder"));
        assert!(said.contains("wasmill new"), "{said}");
    }
}
