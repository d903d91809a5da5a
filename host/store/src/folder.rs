//! The store's folder: what is in it, who may open it, and which format it has.
//!
//! `db/` is sled's, `wal-0` and `wal-1` are the write-ahead log, `components/` holds handlers' components by digest,
//! `compiled/` belongs to the sandbox, `LOCK` is held by the process that has the store open and names it, `FORMAT` has
//! the number of the store's format.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::{database::sync, error::StoreError};

/// The format that is written, and the latest that is known.
///
/// | format | since then |
/// |---|---|
/// | 2 | large chunks of logs lie in slots |
/// | 3 | no map says at all times which slots are taken; a redo record in the tree has the last commit while a host runs |
/// | 4 | commits are in a write-ahead log before they are in the tree |
/// | 5 | its records have up to 2 MiB, and what is made of them in the tree may be any of their last changes until all is there |
///
/// A store of an older format becomes one of the newest when it is opened, unless a host of format 3 was killed.
pub(crate) const FORMAT: u32 = 5;
const FORMAT_TITLE: &str = "wasmill store format ";

/// A folder that is locked and has a format that is known.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Dropping it lets others in.
    pub(crate) lock: File,
}

impl Folder {
    /// Make what is missing, and lock it. A store of a newer format is refused before anything is changed.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        check_format(path)?;
        create_folder(path)?;
        let lock = lock(path)?;
        check_format(path)?;
        if !path.join("FORMAT").exists() {
            write_format(path)?;
        }
        for name in ["db", "components", "compiled"] {
            create_folder(&path.join(name))?;
        }
        sync(path)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("db")
    }

    pub(crate) fn components(&self) -> PathBuf {
        self.path.join("components")
    }
}

/// Messages and components are nobody else's to read. Also the names of folders are durable that are made on the way to it.
fn create_folder(path: &Path) -> Result<(), StoreError> {
    let missing =
        path.ancestors().filter(|folder| !folder.as_os_str().is_empty()).take_while(|folder| !folder.exists());
    let missing: Vec<&Path> = missing.collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| StoreError::io("create the folder", path, error))?;
    let parents = missing.into_iter().filter_map(Path::parent);
    parents.map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent }).try_for_each(sync)
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("LOCK");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|error| StoreError::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse { path: folder.to_owned(), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path, error)),
    }
    write_holder(&mut file).map_err(|error| StoreError::io("write", &path, error))?;
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        (Ok(_) | Err(_), _) => "another process".to_owned(),
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// A folder without the file is a new one, unless it has a database: the file is made durable before that is made.
fn check_format(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join("FORMAT");
    let refuse = |problem: &str| Err(StoreError::NotAStore { path: folder.to_owned(), problem: problem.to_owned() });
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.join("db").exists() => {
            return refuse("it has a database and no file FORMAT");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("read", path, error)),
    };
    let Some(found) = text.strip_prefix(FORMAT_TITLE).and_then(|number| number.trim().parse().ok()) else {
        return refuse("its file FORMAT does not say a format");
    };
    if found > FORMAT {
        return Err(StoreError::NewerFormat { path: folder.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

/// What was opened has the newest format from then on; what cannot be opened stays as it is.
pub(crate) fn write_format(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join("FORMAT");
    let text = format!("{FORMAT_TITLE}{FORMAT}\n");
    if fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    write_whole(&path, text.as_bytes())
}

/// Write a file so that after a crash there is either all of it or none: under another name first, made durable,
/// then renamed, and the name made durable.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| StoreError::io("write", &temporary, error))?;
    fs::rename(&temporary, path).map_err(|error| StoreError::io("write", path, error))?;
    path.parent().map_or(Ok(()), sync)
}
