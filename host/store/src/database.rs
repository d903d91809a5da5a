//! The only file that calls sled: one tree, what makes durable what was written, and over it what is not there yet
//! ([`crate::memtable`]).

use std::{
    fs::File,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sled::{Batch, IVec};

use crate::{
    error::StoreError,
    key::{self, Key, KeyRange},
    memtable::{Memtable, Newest},
    options::StoreOptions,
    range::{Entries, Way},
    value::{self, Pointer},
};

/// With sled's default of 512 KiB a page of large values becomes a file of its own, outside of its cache.
const SEGMENT_BYTES: usize = 16 * 1024 * 1024;

/// How long another handle of a closed database may linger.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// An entry's key and what it will be; none when it is deleted.
pub(crate) type Change = (Key, Option<Vec<u8>>);

/// All that a commit changes.
#[derive(Default)]
pub(crate) struct Changes {
    /// Slots that it needs and that were not there, in the order in which their pages must be made.
    pub(crate) made: Vec<Change>,
    /// Everything else.
    pub(crate) others: Vec<Change>,
}

impl Changes {
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Change> {
        self.made.iter().chain(&self.others)
    }
}

pub(crate) struct Database {
    sled: sled::Db,
    /// An own handle of sled's file, for the fsync that sled leaves out.
    file: File,
    /// What is committed and not yet in the tree.
    pub(crate) memtable: Memtable,
    /// What the first wait for the disk said that failed.
    failed: Mutex<Option<String>>,
    path: PathBuf,
    /// How often somebody waited for the disk.
    #[cfg(test)]
    pub(crate) waits: std::sync::atomic::AtomicUsize,
}

impl Database {
    /// Open the database in the folder `path`, which is made when it is not there.
    pub(crate) fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let config = sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(options.cache_bytes)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None);
        forget_torn_settings(path)?;
        let sled = open_when_free(&config).map_err(|error| StoreError::database("open", path, &error))?;
        let file_path = path.join("db");
        let file = File::open(&file_path).map_err(|error| StoreError::io("open", &file_path, error))?;
        sync(&path.join("conf"))?;
        sync(path)?;
        Ok(Self {
            sled,
            file,
            memtable: Memtable::default(),
            failed: Mutex::default(),
            path: path.to_owned(),
            #[cfg(test)]
            waits: Default::default(),
        })
    }

    /// One entry, as it is.
    pub(crate) fn find_as_it_is(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        if let Some(newest) = self.memtable.find(key) {
            return Ok(newest);
        }
        self.sled.get(key).map_err(|error| self.failed("read", &error))
    }

    /// One entry, wherever it lies.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.find_as_it_is(key)? {
            Some(found) => self.follow(key, found),
            None => Ok(None),
        }
    }

    /// What an entry that was found as it is points to, if it does; none when it was deleted since.
    pub(crate) fn follow(&self, key: &[u8], found: IVec) -> Result<Option<IVec>, StoreError> {
        let mut found = found;
        while let Some(pointer) = Pointer::open(key, &found)? {
            let value = self.find_as_it_is(&key::slot(pointer.slot))?;
            if let Some(value) = value.filter(|value| pointer.is_to(value)) {
                return Ok(Some(value));
            }
            // A commit may have put something else into the slot meanwhile. Then the entry has changed before.
            match self.find_as_it_is(key)? {
                None => return Ok(None),
                Some(again) if again == found => {
                    let problem = format!("it should lie in slot {}, and does not", pointer.slot);
                    return Err(StoreError::damaged(key::describe(key), problem));
                }
                Some(again) => found = again,
            }
        }
        Ok(Some(found))
    }

    /// A whole value, checked.
    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        value::read(key, |key| self.find(key))
    }

    /// Entries in order, as they are: see [`Self::follow`].
    pub(crate) fn range(&self, range: &KeyRange) -> Entries<'_> {
        Entries::new(self, range.clone(), Way::Forward)
    }

    /// The last entry of a range, as it is.
    pub(crate) fn last(&self, range: &KeyRange) -> Result<Option<(IVec, IVec)>, StoreError> {
        Entries::new(self, range.clone(), Way::Backward).next().transpose()
    }

    /// As [`Self::last`], unless an entry behind it was deleted lately: then that one, without a value.
    pub(crate) fn last_or_deleted(&self, range: &KeyRange) -> Result<Option<(IVec, Newest)>, StoreError> {
        Entries::new(self, range.clone(), Way::Backward).step(false)
    }

    /// What the tree has of a range.
    pub(crate) fn tree(&self, range: &KeyRange) -> sled::Iter {
        let bounds: (Bound<&Key>, Bound<&Key>) = (Bound::Included(&range.start), Bound::Excluded(&range.end));
        self.sled.range::<&Key, _>(bounds)
    }

    /// Apply changes to the tree. When one of them fails, those before it are there. After a crash there
    /// are those up to any one of them. They are durable after [`Self::make_durable`].
    pub(crate) fn apply_in_order<V: Into<IVec>>(
        &self,
        changes: impl IntoIterator<Item = (Key, Option<V>)>,
    ) -> Result<(), StoreError> {
        changes.into_iter().try_for_each(|(key, value)| match value {
            Some(value) => self.set(&key, value),
            None => self.remove(&key),
        })
    }

    /// Apply changes to the tree: all or nothing, also after a crash. They are durable after [`Self::make_durable`].
    pub(crate) fn apply_as_batch<V: Into<IVec>>(
        &self,
        changes: impl IntoIterator<Item = (Key, Option<V>)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.sled.apply_batch(batch).map_err(|error| self.failed("write", &error))
    }

    /// Set one entry of the tree. It is durable after [`Self::make_durable`], and not before what was applied before it.
    pub(crate) fn set(&self, key: &[u8], value: impl Into<IVec>) -> Result<(), StoreError> {
        self.sled.insert(key, value).map(drop).map_err(|error| self.failed("write", &error))
    }

    /// Remove one entry of the tree.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.sled.remove(key).map(drop).map_err(|error| self.failed("write", &error))
    }

    /// Wait until all that was applied is on the disk. sled's `flush` ends with `sync_file_range`, which neither
    /// writes the file's size nor empties the disk's cache (its manual page says so), so an fdatasync follows.
    ///
    /// One at a time, and none after one that failed: the system tells of a failed write once, to whoever asks first.
    pub(crate) fn make_durable(&self) -> Result<(), StoreError> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = &*failed {
            return Err(StoreError::Poisoned { first: first.clone() });
        }
        #[cfg(test)]
        self.waits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let flushed = self.sled.flush().map_err(|error| self.failed("flush", &error));
        let durable = flushed.and_then(|_| {
            self.file.sync_data().map_err(|error| StoreError::io("make durable", self.path.join("db"), error))
        });
        durable.inspect_err(|error| *failed = Some(error.to_string()))
    }

    pub(crate) fn size_on_disk_bytes(&self) -> Result<u64, StoreError> {
        self.sled.size_on_disk().map_err(|error| self.failed("measure its files", &error))
    }

    pub(crate) fn failed(&self, action: &'static str, error: &sled::Error) -> StoreError {
        StoreError::database(action, &self.path, error)
    }
}

/// The store's own lock is held, so the only one who can hold sled's is a thread of sled's pool that has not yet let
/// go of a database that this process has just closed.
fn open_when_free(config: &sled::Config) -> sled::Result<sled::Db> {
    let began = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_locked(&error) && began.elapsed() < LOCK_WAIT_MAX => {
                thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// sled writes its settings in two pieces, before it makes the file of the database. A host that is killed between the two
/// leaves settings that cannot be read. As long as there is no database they say nothing, and are written anew.
fn forget_torn_settings(path: &Path) -> Result<(), StoreError> {
    let has_database = std::fs::metadata(path.join("db")).is_ok_and(|file| file.len() > 0);
    if has_database {
        return Ok(());
    }
    let settings = path.join("conf");
    match std::fs::remove_file(&settings) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &settings, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Make a file, or the names in a folder, durable.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| StoreError::io("make durable", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next wait would find nothing wrong, and what was not written would count as durable.
    #[test]
    fn after_a_wait_for_the_disk_that_failed_nothing_is_called_durable() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path(), &StoreOptions::default()).expect("opens");
        database.make_durable().expect("is durable");
        *database.failed.lock().expect("no panic") = Some("the disk is gone".to_owned());
        let error = database.make_durable().expect_err("it is not known").to_string();
        assert!(error.contains("the disk is gone"), "{error}");
    }
}
