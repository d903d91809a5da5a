//! Which files have cases, and which component a project makes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::project::Project;

/// Folders that hold what tools made, besides hidden ones.
const SKIPPED: [&str; 4] = ["target", "node_modules", "venv", "__pycache__"];
/// How files of cases end.
const ENDING: &str = ".test.toml";

/// The files of cases that were named, or those below this folder.
pub(super) fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in given {
        if path.is_dir() {
            let before = found.len();
            look_in(path, &mut found)?;
            ensure!(found.len() > before, "there is no *{ENDING} below {}", path.display());
        } else {
            found.push(path.clone());
        }
    }
    if given.is_empty() {
        look_in(Path::new("."), &mut found)?;
    }
    if found.is_empty() {
        bail!(
            "there is no *{ENDING} below this folder; write cases (`sdk/testing/README.md` says how, and `wasmill new` makes \
             a project that has some), or name a file: wasmill test FILE"
        );
    }
    Ok(found)
}

fn look_in(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) && !path.is_symlink() {
                look_in(&path, found)?;
            }
        } else if name.ends_with(ENDING) {
            found.push(path.strip_prefix(".").unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

/// What `project.toml` in this folder says that its build makes; none without such a file.
pub(super) fn project_component(folder: &Path) -> Result<Option<PathBuf>> {
    Ok(Project::find(folder)?.map(|project| folder.join(project.component)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_made_is_not_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["a.test.toml", "deep/er/b.test.toml", "deep/c.toml"];
        let skipped = ["target/d.test.toml", ".venv/e.test.toml", "node_modules/x/f.test.toml"];
        for name in names.iter().chain(&skipped) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "").expect("a file");
        }
        let found = files(&[folder.path().to_owned()]).expect("files");
        assert_eq!(found, [folder.path().join(names[0]), folder.path().join(names[1])]);
        let empty = folder.path().join("target");
        std::fs::remove_file(empty.join("d.test.toml")).expect("it is there");
        assert!(files(&[empty]).expect_err("none").to_string().contains("there is no *.test.toml below"));
    }
}
