//! Compiled code that `dev` and `inspect` keep from one run to the next, within a limit.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Remove what was compiled longest ago until the rest is within the limit. What is not there takes no room.
pub(super) fn shrink(folder: &Path, bytes_max: u64) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, size, path) in files {
        if bytes <= bytes_max {
            break;
        }
        fs::remove_file(path)?;
        bytes -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn the_oldest_goes_until_the_rest_fits() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for (name, age) in [("new", 1), ("old", 3), ("middle", 2)] {
            fs::write(at(name), [0; 10]).expect("our folder");
            let modified = SystemTime::now() - Duration::from_secs(age * 1_000);
            File::options().append(true).open(at(name)).and_then(|file| file.set_modified(modified)).expect("ours");
        }
        for (bytes_max, left) in [(30, vec!["new", "old", "middle"]), (29, vec!["new", "middle"]), (10, vec!["new"])] {
            shrink(folder.path(), bytes_max).expect("our folder");
            assert_eq!(fs::read_dir(folder.path()).expect("ours").count(), left.len());
            assert!(left.iter().all(|name| at(name).exists()), "{left:?}");
        }
        shrink(&at("nowhere"), 0).expect("nothing takes no room");
    }
}
