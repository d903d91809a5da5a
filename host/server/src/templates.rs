//! Templates of handlers' projects, as `wasmill new` copies them. They are in the binary, so that nothing else is needed.
//!
//! A template is a manifest `sdk/<language>/template.toml` and the folder `template` beside it; a language with several
//! names them `template-js.toml` and `template-js/` and so on. `build.rs` embeds them.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// A file that is embedded.
pub(crate) struct File {
    /// From the repository's root.
    path: &'static str,
    executable: bool,
    content: &'static [u8],
}

/// A template that is embedded.
pub(crate) struct Template {
    /// From the repository's root.
    folder: &'static str,
    manifest: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What a manifest says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// What `--lang` takes.
    pub(crate) language: String,
    /// What it takes too.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// Its folder, for whoever reads the manifest: the one called as the manifest is.
    #[serde(default)]
    template: Option<String>,
    /// One line for a list.
    pub(crate) about: String,
    /// What is copied besides the template, before it.
    #[serde(default)]
    vendor: Vec<Vendored>,
    /// Tools that must be there.
    #[serde(default)]
    pub(crate) needs: Vec<Need>,
    /// What to do next, in order.
    #[serde(default)]
    pub(crate) steps: Vec<String>,
}

/// A file or folder of the repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vendored {
    from: String,
    to: String,
}

/// A tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Need {
    /// Its name and version.
    pub(crate) tool: String,
    /// A shell command that succeeds when it is there.
    pub(crate) check: String,
    /// What to do when it is not.
    pub(crate) how: String,
}

/// A file of a new project.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProjectFile {
    pub(crate) executable: bool,
    pub(crate) content: Cow<'static, [u8]>,
}

impl Template {
    /// # Errors
    /// When the manifest is not one; a test sees that none is embedded that is not.
    pub(crate) fn manifest(&self) -> Result<Manifest> {
        let path = || format!("{}.toml", self.folder);
        let manifest: Manifest = toml::from_str(self.manifest).with_context(path)?;
        let folder = manifest.template.as_deref();
        let is_own = folder.is_none() || folder == self.folder.rsplit('/').next();
        ensure!(is_own, "{}: the template's folder is called as its manifest", path());
        Ok(manifest)
    }

    /// All files of a new project of this name, by path. What is vendored comes first, so that the template may have a
    /// file in the place of one of it, and is not changed.
    ///
    /// # Errors
    /// When the manifest names something that is not there.
    pub(crate) fn files(&self, name: &str) -> Result<BTreeMap<String, ProjectFile>> {
        assemble(FILES, self.folder, &self.manifest()?.vendor, name)
    }
}

fn assemble(
    files: &'static [File],
    folder: &str,
    vendor: &[Vendored],
    name: &str,
) -> Result<BTreeMap<String, ProjectFile>> {
    let mut project = BTreeMap::new();
    for Vendored { from, to } in vendor {
        let before = project.len();
        for (inside, file) in below(files, from).filter(|(_, file)| !is_of_a_template(file.path)) {
            let path = if inside.is_empty() { to.clone() } else { format!("{}/{inside}", to.trim_end_matches('/')) };
            let content = Cow::Borrowed(file.content);
            project.insert(path, ProjectFile { executable: file.executable, content });
        }
        ensure!(project.len() > before, "{folder}.toml: nothing that git knows is at {from}");
    }
    for (inside, file) in below(files, folder) {
        let content = match std::str::from_utf8(file.content) {
            Ok(text) => Cow::Owned(fill_in(text, name).into_bytes()),
            Err(_) => Cow::Borrowed(file.content),
        };
        project.insert(fill_in(inside, name), ProjectFile { executable: file.executable, content });
    }
    Ok(project)
}

/// Files at that path or below it, with the rest of their path.
fn below<'a>(files: &'static [File], path: &'a str) -> impl Iterator<Item = (&'static str, &'static File)> + 'a {
    let path = path.trim_end_matches('/');
    files.iter().filter_map(move |file| {
        let rest = file.path.strip_prefix(path)?;
        if rest.is_empty() { Some((rest, file)) } else { Some((rest.strip_prefix('/')?, file)) }
    })
}

/// An SDK's folder has its template in it, which is not part of what is vendored.
fn is_of_a_template(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("sdk") && parts.nth(1).is_some_and(|part| part.starts_with("template"))
}

/// The text with the project's name in it.
pub(crate) fn fill_in(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{snake}}", &name.replace('-', "_"))
}

#[cfg(test)]
mod tests;
