//! Compiled code, kept so that a restart does not compile everything again: 10 s for a JavaScript or Python handler,
//! a millisecond from here.
//!
//! A file is named `<digest of the component>-<fingerprint of the engine>.cwasm` and has its SHA-256 beside it, in
//! `….cwasm.sha256`. Each is written under another name and renamed. When the two do not agree, because of a crash
//! between the renames or a bad disk, the code is thrown away and compiled again.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    hash::{Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use wasmill_delivery::name::Digest;
use wasmtime::{Engine, component::Component};

use crate::trusted;

const CODE: &str = "cwasm";
const CHECKSUM: &str = "cwasm.sha256";
const UNFINISHED: &str = "unfinished";
/// Nobody else may read what runs here, and above all nobody else may write it.
const FOLDER_MODE: u32 = 0o700;
/// What another process has not touched for so long, it does not write any more.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// A folder of compiled code for one engine.
pub(crate) struct CompiledFolder {
    path: PathBuf,
    /// Whether other processes use it too.
    shared: bool,
    fingerprint: String,
    unfinished: AtomicU64,
}

impl CompiledFolder {
    /// Make the folder, or take it over: what other engines compiled and what was not finished is removed. In one that is
    /// shared each engine has a folder of its own, named by its fingerprint, and only what is old is removed.
    pub(crate) fn open(mut path: PathBuf, shared: bool, engine: &Engine) -> io::Result<Self> {
        let fingerprint = fingerprint(engine);
        make(&path)?;
        if shared {
            path.push(&fingerprint);
            make(&path)?;
        }
        let folder = Self { path, shared, fingerprint, unfinished: AtomicU64::new(0) };
        folder.sweep()?;
        Ok(folder)
    }

    /// The compiled code of a component, when it is here and sound.
    pub(crate) fn find(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let code = self.file(digest, CODE);
        if !code.exists() {
            return None;
        }
        match self.open_checked(engine, digest, &code) {
            Ok(component) => {
                if self.shared {
                    note_use(&code);
                }
                Some(component)
            }
            Err(problem) => {
                tracing::warn!(file = %code.display(), problem, "compiled code is damaged; it is removed and compiled again");
                self.remove(digest);
                None
            }
        }
    }

    /// Keep compiled code. When that does not work the next start is slower, and that is all.
    pub(crate) fn keep(&self, digest: &Digest, component: &Component) {
        let written = component.serialize().map_err(|error| format!("{error:#}")).and_then(|code| {
            let checksum = Digest(Sha256::digest(&code).into()).to_string();
            self.write(digest, CHECKSUM, checksum.as_bytes()).map_err(|error| error.to_string())?;
            self.write(digest, CODE, &code).map_err(|error| error.to_string())
        });
        if let Err(problem) = written {
            tracing::warn!(folder = %self.path.display(), problem, "compiled code cannot be kept; the next start compiles again");
        }
    }

    /// Where code that is not known to be good yet can be written.
    pub(crate) fn unfinished(&self) -> PathBuf {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{}-{number}.{UNFINISHED}", std::process::id()))
    }

    /// Keep code that a compiler wrote to a file of [`CompiledFolder::unfinished`], and map it. The file is gone then.
    pub(crate) fn adopt(&self, engine: &Engine, digest: &Digest, code: &Path) -> Result<Component, String> {
        let component = trusted::map_compiled(engine, code).map_err(|error| format!("{error:#}"));
        let kept = component.and_then(|component| {
            let checksum = checksum(code).map_err(|error| error.to_string())?;
            self.write(digest, CHECKSUM, checksum.as_bytes()).map_err(|error| error.to_string())?;
            fs::rename(code, self.file(digest, CODE)).map_err(|error| error.to_string())?;
            Ok(component)
        });
        if kept.is_err() {
            remove_if_there(code);
        }
        kept
    }

    /// Forget a component's code.
    pub(crate) fn remove(&self, digest: &Digest) {
        for kind in [CODE, CHECKSUM] {
            remove_if_there(&self.file(digest, kind));
        }
    }

    fn open_checked(&self, engine: &Engine, digest: &Digest, code: &Path) -> Result<Component, String> {
        let expected =
            fs::read_to_string(self.file(digest, CHECKSUM)).map_err(|error| format!("no checksum: {error}"))?;
        let found = checksum(code).map_err(|error| error.to_string())?;
        if found != expected {
            return Err(format!("its checksum is {found} and should be {expected}"));
        }
        trusted::map_compiled(engine, code).map_err(|error| format!("{error:#}"))
    }

    fn write(&self, digest: &Digest, kind: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = self.unfinished();
        let written = File::create_new(&unfinished).and_then(|mut file| file.write_all(content));
        let kept = written.and_then(|()| fs::rename(&unfinished, self.file(digest, kind)));
        if kept.is_err() {
            remove_if_there(&unfinished);
        }
        kept
    }

    fn file(&self, digest: &Digest, kind: &str) -> PathBuf {
        self.path.join(format!("{digest}-{}.{kind}", self.fingerprint))
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if self.is_stale(&path) {
                remove_if_there(&path);
            }
        }
        Ok(())
    }

    /// Whether it is this folder's kind of file and of no use any more. Anything else is not touched.
    fn is_stale(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        let Some((stem, kind)) = name.split_once('.') else { return false };
        match kind {
            UNFINISHED => !self.shared || is_old(path),
            CODE | CHECKSUM => stem.split_once('-').is_some_and(|(digest, fingerprint)| {
                digest.parse::<Digest>().is_ok() && fingerprint != self.fingerprint
            }),
            _ => false,
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
}

/// So that whoever makes room knows which code nobody needs. When it cannot be noted, it is compiled again one day.
fn note_use(code: &Path) {
    let noted = File::open(code).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = noted {
        tracing::debug!(file = %code.display(), %error, "the use of compiled code cannot be noted");
    }
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|about| about.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > UNFINISHED_AGE_MAX))
}

fn checksum(file: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(file)?, &mut hash)?;
    Ok(Digest(hash.finalize().into()).to_string())
}

pub(crate) fn remove_if_there(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(file = %path.display(), %error, "a file of compiled code cannot be removed"),
    }
}

/// What compiled code depends on: wasmtime's version, the engine's settings and the machine.
fn fingerprint(engine: &Engine) -> String {
    let mut hash = Hashed(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hash);
    let hash: [u8; 32] = hash.0.finalize().into();
    Digest(hash).to_string()[..16].to_owned()
}

/// A hash that is the same in every build of the host, which the standard library's is not said to be.
struct Hashed(Sha256);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash: [u8; 32] = self.0.clone().finalize().into();
        u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes"))
    }
}
