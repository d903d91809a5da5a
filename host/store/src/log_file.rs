//! A file of the write-ahead log ([`crate::wal`]): of fixed size, and what is written into it is durable when the write returns.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FsWord, OFlags},
    io::Errno,
};

use crate::error::StoreError;

/// Memory, length and place of what is written past the page cache are multiples of it. It is enough for all usual disks; one that
/// wants more has its writes go through the page cache.
pub(crate) const BLOCK_BYTES: usize = 4 * 1024;
/// A file grows by so many zeros at once, until it is whole: a write into what is there needs half the time.
const GROWTH_BYTES: usize = 256 * 1024;

/// What Linux calls a file system in FUSE.
const FUSE_SUPER_MAGIC: FsWord = 0x6573_5546;

pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    /// Writes here go to the disk past the page cache, and wait for it: one call instead of two, and nothing is copied. None where
    /// that cannot be.
    direct: Option<File>,
    bytes: usize,
    bytes_max: usize,
}

impl LogFile {
    /// It has `bytes_max` bytes at most, a multiple of 256 KiB.
    pub(crate) fn open(path: PathBuf, bytes_max: usize) -> Result<Self, StoreError> {
        debug_assert!(bytes_max.is_multiple_of(GROWTH_BYTES), "the last growth makes it whole");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let with_size = opened.and_then(|file| file.metadata().map(|found| (file, found.len())));
        let (file, bytes) = with_size.map_err(|error| StoreError::io("open", &path, error))?;
        let direct = open_direct(&path, &file).map_err(|error| StoreError::io("open", &path, error))?;
        // A larger file was not made here; so much of it is used.
        let bytes = usize::try_from(bytes).map_or(bytes_max, |bytes| bytes.min(bytes_max));
        Ok(Self { path, file, direct, bytes, bytes_max })
    }

    /// Write whole blocks, into what is there or what follows. They are durable when this returns.
    pub(crate) fn write(&mut self, at: usize, blocks: &[u8]) -> Result<(), StoreError> {
        self.try_write(at, blocks).map_err(|error| StoreError::io("write", &self.path, error))
    }

    fn try_write(&mut self, at: usize, blocks: &[u8]) -> io::Result<()> {
        let until = at + blocks.len();
        debug_assert!(until <= self.bytes_max, "{until}");
        if until > self.bytes {
            let grown = until.next_multiple_of(GROWTH_BYTES);
            self.file.write_all_at(&vec![0; grown - self.bytes], self.bytes as u64)?;
            self.file.sync_data()?;
            self.bytes = grown;
        }
        if let Some(direct) = &self.direct {
            match direct.write_all_at(blocks, at as u64) {
                // It wants larger blocks, or none at all.
                Err(error) if is_refused(&error) => {
                    say_slower(&self.path, &error);
                    self.direct = None;
                }
                written => return written,
            }
        }
        self.file.write_all_at(blocks, at as u64)?;
        self.file.sync_data()
    }
}

/// The same file, to be written past the page cache; none where that cannot be.
fn open_direct(path: &Path, file: &File) -> io::Result<Option<File>> {
    // Its server may have the bytes when a write returns, and not the disk: the system does not ask it, except by a call of its own.
    if rustix::fs::fstatfs(file)?.f_type == FUSE_SUPER_MAGIC {
        return Ok(None);
    }
    let flags = (OFlags::DIRECT | OFlags::DSYNC).bits().cast_signed();
    match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Ok(direct) => Ok(Some(direct)),
        Err(error) if is_refused(&error) => {
            say_slower(path, &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_refused(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP].iter().any(|refused| error.raw_os_error() == Some(refused.raw_os_error()))
}

fn say_slower(path: &Path, error: &io::Error) {
    tracing::info!(path = %path.display(), %error, "no writes past the page cache here; commits take a little longer");
}

/// Whole blocks to be written, where [`LogFile::write`] wants them in memory.
pub(crate) struct Blocks {
    memory: Vec<u8>,
    /// The first that lies at a multiple of [`BLOCK_BYTES`].
    begin: usize,
}

impl Blocks {
    /// With more bytes they may lie elsewhere, and are written through the page cache.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let memory = Vec::<u8>::with_capacity(BLOCK_BYTES + bytes);
        // This says "never" as a number that is too large, and has never said so at run time.
        let begin = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        let mut blocks = Self { memory, begin };
        blocks.clear();
        blocks
    }

    pub(crate) fn clear(&mut self) {
        self.memory.clear();
        self.memory.resize(self.begin, 0);
    }

    /// Put something behind what is there, and zeros up to the end of its last block.
    pub(crate) fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.memory);
        let bytes = self.memory.len() - self.begin;
        self.memory.resize(self.begin + bytes.next_multiple_of(BLOCK_BYTES), 0);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 2 * GROWTH_BYTES;
    const TMPFS_MAGIC: FsWord = 0x0102_1994;

    fn blocks(fill: u8, count: usize) -> Blocks {
        let mut blocks = Blocks::with_capacity(count * BLOCK_BYTES);
        (0..count).for_each(|_| blocks.put(|out| out.push(fill)));
        blocks
    }

    #[test]
    fn blocks_lie_where_the_disk_wants_them_however_often_they_are_filled() {
        let mut blocks = blocks(1, 3);
        for _ in 0..3 {
            assert_eq!(blocks.bytes().len(), 3 * BLOCK_BYTES);
            assert_eq!(blocks.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
            blocks.clear();
            assert!(blocks.bytes().is_empty());
            blocks.put(|out| out.resize(out.len() + 2 * BLOCK_BYTES + 1, 7));
        }
    }

    /// Pages of a file that the disk does not have yet. The system says so since Linux 6.5, by a call that needs `unsafe` here and none in
    /// Perl, which each Debian has; none where it cannot.
    fn pages_not_on_disk(path: &Path) -> Option<u64> {
        const CACHESTAT: &str = r#"
            open(my $file, "<", $ARGV[0]) or die;
            my ($range, $found) = (pack("QQ", 0, 0), "\0" x 40);
            if (syscall(451, fileno($file), $range, $found, 0) != 0) {
                $!{ENOSYS} or die $!;
                print "unknown";
                exit;
            }
            my ($cached, $dirty, $under_way) = unpack("Q3", $found);
            print $dirty + $under_way;
        "#;
        let asked =
            std::process::Command::new("perl").args(["-e", CACHESTAT]).arg(path).output().expect("there is Perl");
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        let said = String::from_utf8_lossy(&asked.stdout);
        (said != "unknown").then(|| said.parse().expect("a number"))
    }

    #[test]
    fn a_write_is_there_and_on_the_disk_whichever_way_it_takes() {
        let folder = tempfile::tempdir().expect("a folder");
        for is_direct in [true, false] {
            let path = folder.path().join(is_direct.to_string());
            let mut file = LogFile::open(path.clone(), BYTES_MAX).expect("opens");
            if !is_direct {
                file.direct = None;
            }
            let had_direct = file.direct.is_some();
            for (at, fill) in [(0, 1), (BYTES_MAX - 2 * BLOCK_BYTES, 2), (BLOCK_BYTES, 3)] {
                file.write(at, blocks(fill, 2).bytes()).expect("is written");
                assert_eq!(pages_not_on_disk(&path).unwrap_or(0), 0, "{is_direct}, {at}");
                let found = std::fs::read(&path).expect("is there");
                assert_eq!(found[at..][..2 * BLOCK_BYTES], *blocks(fill, 2).bytes(), "{is_direct}, {at}");
                assert_eq!(found.len(), if at == 0 { GROWTH_BYTES } else { BYTES_MAX });
                assert_eq!(found[0], 1);
            }
            assert_eq!(file.direct.is_some(), had_direct, "what it took once it takes again");
            assert_eq!(LogFile::open(path, BYTES_MAX).expect("opens").bytes, BYTES_MAX);
        }
    }

    #[test]
    fn what_is_not_on_the_disk_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, [1; 10 * BLOCK_BYTES]).expect("is written");
        // Not with older systems, and not where there is no disk.
        if let Some(pages) = pages_not_on_disk(&path) {
            let kind = rustix::fs::statfs(folder.path()).expect("is known").f_type;
            assert!(pages == 10 || kind == TMPFS_MAGIC, "{pages}");
        }
    }

    /// What lies in the page cache is not all: the disk may have a cache of its own.
    #[test]
    fn a_write_past_the_page_cache_waits_for_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = LogFile::open(folder.path().join("log"), BYTES_MAX).expect("opens");
        if let Some(direct) = file.direct {
            let flags = rustix::fs::fcntl_getfl(direct).expect("are known");
            assert!(flags.contains(OFlags::DIRECT | OFlags::DSYNC), "{flags:?}");
        }
    }

    /// As on a disk whose blocks are larger.
    #[test]
    fn what_the_disk_does_not_take_goes_through_the_page_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut file = LogFile::open(path.clone(), BYTES_MAX).expect("opens");
        for fill in [1, 2] {
            file.write(100, &[fill; 1000]).expect("is written");
            assert_eq!(std::fs::read(&path).expect("is there")[100..1100], [fill; 1000]);
            assert!(file.direct.is_none());
        }
    }
}
