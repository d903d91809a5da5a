//! The files that a build is made from, and what becomes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    project::{PROJECT_FILE, Project},
    serve::CONFIG_FILE,
    watch::events::Events,
};

/// Files count as they are when they stayed so for this long: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(100);
/// Files and folders that are watched; more is a folder of something that was installed or built.
const WATCHED_MAX: usize = 20_000;
/// A file that changed during so many builds in a row is taken for one that the build writes.
const OWN_BUILDS: u32 = 5;
/// What builds and package managers leave behind below a watched folder, and the name by which vim finds out whether it
/// can write there. Hidden files and backups are left out as well.
const NOT_WATCHED: &[&str] = &["node_modules", "target", "__pycache__", "zig-cache", "zig-out", "4913"];

/// What tells a file from its next version.
type Print = (SystemTime, u64);
type Files = BTreeMap<PathBuf, Print>;

/// The watched files.
pub(super) struct Watched {
    roots: Vec<PathBuf>,
    component: PathBuf,
    events: Events,
    /// What the last build was made from.
    seen: Files,
    /// During how many builds in a row, until now, a file changed.
    changed_by_builds: BTreeMap<PathBuf, u32>,
}

impl Watched {
    /// # Errors
    /// When the system does not tell of changes, or there is too much to watch.
    pub(super) fn new(project: &Project) -> Result<Self> {
        let events = Events::listen().context("the system does not tell of changed files")?;
        let (component, seen, changed_by_builds) = Default::default();
        let mut watched = Self { roots: Vec::new(), component, events, seen, changed_by_builds };
        watched.watch_instead(project);
        watched.seen = watched.look()?.0;
        Ok(watched)
    }

    /// From now on, what this project says. The next change is known against what was there before.
    pub(super) fn watch_instead(&mut self, project: &Project) {
        let files = [PROJECT_FILE, CONFIG_FILE].map(PathBuf::from);
        self.roots = project.watch.iter().map(|path| plain(path)).chain(files).collect();
        self.component = plain(&project.component);
        if let Ok((files, _)) = self.look() {
            self.seen = files;
        }
    }

    /// What is not there. It is watched once it comes into being.
    pub(super) fn missing(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(PathBuf::as_path).filter(|root| !root.exists())
    }

    /// Wait until something changed since the last build, and settled. Answers what. It can be dropped at any time.
    ///
    /// # Errors
    /// When files cannot be read, or there is too much to watch.
    pub(super) async fn changed(&mut self) -> Result<BTreeSet<PathBuf>> {
        loop {
            // First watch, then look: what changes between the two is seen by one of them.
            let (mut files, folders) = self.look()?;
            self.events.watch(&folders);
            loop {
                tokio::time::sleep(SETTLE).await;
                let (again, _) = self.look()?;
                if again == files {
                    break;
                }
                files = again;
            }
            let changed = difference(&self.seen, &files);
            if !changed.is_empty() {
                self.seen = files;
                return Ok(changed);
            }
            self.events.next().await;
        }
    }

    /// A build has ended. What changed since it began asks for another, as somebody may have edited it; but what changed
    /// during [`OWN_BUILDS`] in a row counts as this one left it, or builds would run for ever. Answers what is new among
    /// the latter.
    ///
    /// # Errors
    /// When files cannot be read.
    pub(super) fn built(&mut self) -> Result<Vec<PathBuf>> {
        let (now, _) = self.look()?;
        let changed = difference(&self.seen, &now);
        self.changed_by_builds.retain(|path, _| changed.contains(path));
        let mut own = Vec::new();
        for path in changed {
            let builds = self.changed_by_builds.entry(path.clone()).or_default();
            *builds = builds.saturating_add(1);
            if *builds < OWN_BUILDS {
                continue;
            }
            if *builds == OWN_BUILDS {
                own.push(path.clone());
            }
            match now.get(&path) {
                Some(print) => drop(self.seen.insert(path, *print)),
                None => drop(self.seen.remove(&path)),
            }
        }
        Ok(own)
    }

    /// All files with their prints, and the folders in which something may change.
    fn look(&self) -> Result<(Files, BTreeSet<PathBuf>)> {
        let (mut files, mut folders) = (Files::new(), BTreeSet::new());
        for root in &self.roots {
            if !root.is_dir() {
                folders.insert(parent(root));
            }
            visit(root, &mut files, &mut folders, WATCHED_MAX)?;
        }
        files.remove(&self.component);
        Ok((files, folders))
    }
}

/// Take in a file, or all that is below a folder. What goes away meanwhile is not there.
fn visit(root: &Path, files: &mut Files, folders: &mut BTreeSet<PathBuf>, max: usize) -> Result<()> {
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        ensure!(
            files.len() + folders.len() <= max,
            "more than {max} files and folders are watched; name fewer under watch in {PROJECT_FILE}"
        );
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
        };
        if !metadata.is_dir() {
            files.insert(path, (metadata.modified()?, metadata.len()));
            continue;
        }
        let Ok(entries) = fs::read_dir(&path) else { continue };
        for entry in entries.flatten() {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            // A link to a folder may go round in circles.
            if is_not_watched(&entry.file_name()) || (is_link && entry.path().is_dir()) {
                continue;
            }
            left.push(plain(&entry.path()));
        }
        folders.insert(path);
    }
    Ok(())
}

fn is_not_watched(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name.ends_with('~') || NOT_WATCHED.contains(&&*name)
}

fn difference(before: &Files, now: &Files) -> BTreeSet<PathBuf> {
    let other =
        |(path, print): (&PathBuf, &Print), files: &Files| (files.get(path) != Some(print)).then(|| path.clone());
    let changed = now.iter().filter_map(|file| other(file, before));
    let gone = before.iter().filter_map(|file| other(file, now));
    changed.chain(gone).collect()
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Without `./` in front, so that one file has one name.
fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf = path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_comes_or_goes_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let look = || {
            let mut files = Files::new();
            visit(folder.path(), &mut files, &mut BTreeSet::new(), WATCHED_MAX).unwrap();
            files
        };
        fs::create_dir_all(at("src/deep")).unwrap();
        fs::create_dir_all(at("node_modules")).unwrap();
        fs::write(at("src/deep/a"), "a").unwrap();
        fs::write(at("src/b"), "b").unwrap();
        let before = look();
        assert!(difference(&before, &look()).is_empty());
        for name in ["node_modules/x", "src/.which.swp", "src/b~", "src/4913"] {
            fs::write(at(name), "x").unwrap();
            assert!(difference(&before, &look()).is_empty(), "{name} is neither source nor the user's");
        }
        fs::write(at("src/deep/a"), "longer").unwrap();
        fs::remove_file(at("src/b")).unwrap();
        fs::write(at("src/c"), "c").unwrap();
        std::os::unix::fs::symlink(folder.path(), at("src/round")).unwrap();
        let changed = difference(&before, &look());
        assert_eq!(changed, BTreeSet::from([at("src/deep/a"), at("src/b"), at("src/c")]));
    }

    #[test]
    fn too_much_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let look = |max| visit(folder.path(), &mut Files::new(), &mut BTreeSet::new(), max);
        assert!(look(4).is_ok());
        let said = look(2).unwrap_err().to_string();
        assert!(said.contains("more than 2 files and folders"), "{said}");
    }

    #[test]
    fn one_file_has_one_name() {
        for (path, expected) in [("./src/./a", "src/a"), (".", "."), ("src", "src"), ("/a/b", "/a/b")] {
            assert_eq!(plain(Path::new(path)), Path::new(expected));
        }
    }
}
