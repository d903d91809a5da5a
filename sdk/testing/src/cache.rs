//! Compiled code that is kept from one run to the next, within a limit.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What is kept of compiled components, in bytes; the oldest go first. A JavaScript component's code takes about 40 MB.
pub const CACHE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Remove the oldest files until the rest is within the limit. Another process may do the same: what is gone is gone.
pub(crate) fn shrink(folder: &Path, bytes_max: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(about) = entry.metadata()
            && about.is_file()
        {
            files.push((about.modified()?, about.len(), entry.path()));
        }
    }
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    files.sort();
    for (_, size, path) in files {
        if bytes <= bytes_max {
            break;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => bytes -= size,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let folder = tempfile::tempdir().expect("a folder");
        for age in [1, 2, 3] {
            let path = folder.path().join(age.to_string());
            fs::write(&path, vec![0; 10]).expect("room");
            let modified = SystemTime::now() - Duration::from_secs(age * 1_000);
            File::options().append(true).open(&path).and_then(|file| file.set_modified(modified)).expect("its time");
        }
        let left = |bytes_max| {
            shrink(folder.path(), bytes_max).expect("a folder");
            ["1", "2", "3"].map(|name| folder.path().join(name).exists())
        };
        assert_eq!(left(30), [true; 3], "the limit itself fits");
        assert_eq!(left(29), [true, true, false]);
        assert_eq!(left(5), [false; 3]);
    }
}
