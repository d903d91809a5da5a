//! Compiled code that is kept from one run to the next, within a limit.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What is kept of compiled components, in bytes; what was not used for longest goes first. A JavaScript component's code
/// takes about 40 MB.
pub const CACHE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// A component's code and its checksum.
#[derive(Default)]
struct Kept {
    used: Option<SystemTime>,
    bytes: u64,
    files: Vec<PathBuf>,
}

/// Remove what was not used for longest, here and in the folders of this one, until the rest is within the limit. Another
/// process may do the same: what is gone is gone.
pub(crate) fn shrink(folder: &Path, bytes_max: u64) -> io::Result<()> {
    let mut kept = BTreeMap::new();
    look_in(folder, true, &mut kept)?;
    let mut kept: Vec<Kept> = kept.into_values().collect();
    kept.sort_by_key(|kept| kept.used);
    let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
    for kept in kept {
        if bytes <= bytes_max {
            break;
        }
        for path in kept.files {
            unless_gone(fs::remove_file(path))?;
        }
        bytes -= kept.bytes;
    }
    Ok(())
}

fn look_in(folder: &Path, and_below: bool, kept: &mut BTreeMap<PathBuf, Kept>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(about) = unless_gone(entry.metadata())? else { continue };
        if about.is_dir() && and_below {
            look_in(&entry.path(), false, kept)?;
        } else if about.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let component = name.split_once('.').map_or(&*name, |(component, _)| component);
            let kept = kept.entry(folder.join(component)).or_default();
            kept.used = kept.used.max(Some(about.modified()?));
            kept.bytes += about.len();
            kept.files.push(entry.path());
        }
    }
    Ok(())
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_until_the_rest_fits() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("0123456789abcdef");
        fs::create_dir(&below).expect("room");
        let put = |path: &Path, bytes: usize, age: u64| {
            fs::write(path, vec![0; bytes]).expect("room");
            let modified = SystemTime::now() - Duration::from_secs(age * 1_000);
            File::options().append(true).open(path).and_then(|file| file.set_modified(modified)).expect("its time");
        };
        // Its use is noted at the code; the checksum is as old as the compilation.
        put(&below.join("1.cwasm"), 8, 1);
        put(&below.join("1.cwasm.sha256"), 2, 9);
        put(&below.join("2.cwasm"), 10, 2);
        put(&folder.path().join("3.cwasm"), 10, 3);
        let left = |bytes_max| {
            shrink(folder.path(), bytes_max).expect("a folder");
            let files = [
                below.join("1.cwasm"),
                below.join("1.cwasm.sha256"),
                below.join("2.cwasm"),
                folder.path().join("3.cwasm"),
            ];
            files.map(|path| path.exists())
        };
        assert_eq!(left(30), [true; 4], "the limit itself fits");
        assert_eq!(left(29), [true, true, true, false]);
        assert_eq!(left(19), [true, true, false, false]);
        assert_eq!(left(5), [false; 4]);
    }
}
