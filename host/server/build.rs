//! Embeds the templates of `wasmill new`: each `sdk/<language>/template*.toml` with the folder of that name beside it, and
//! what it says to copy besides. Only files that git knows or would take are embedded, because an SDK that was built in
//! place has much lying around; an archive without git holds nothing else.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> io::Result<()> {
    let root = fs::canonicalize(Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../.."))?;
    let known = known_to_git(&root);
    let mut embedded = BTreeSet::new();
    let mut templates = String::new();
    for manifest in manifests(&root)? {
        let folder = manifest.strip_suffix(".toml").expect("found by this ending");
        let text = fs::read_to_string(root.join(&manifest))?;
        let vendored = vendored(&text);
        for from in vendored.iter().map(String::as_str).chain([folder]) {
            println!("cargo::rerun-if-changed={}", root.join(from).display());
            embedded.extend(files_below(&root, from, known.as_ref())?);
        }
        let text = root.join(&manifest);
        writeln!(templates, "    Template {{ folder: {folder:?}, manifest: include_str!({text:?}) }},")
            .expect("a string");
    }
    let mut files = String::new();
    for path in embedded {
        let from = root.join(&path);
        let executable = fs::metadata(&from)?.permissions().mode() & 0o100 != 0;
        writeln!(files, "    File {{ path: {path:?}, executable: {executable}, content: include_bytes!({from:?}) }},")
            .expect("a string");
    }
    let code = format!(
        "pub(crate) static TEMPLATES: &[Template] = &[\n{templates}];\nstatic FILES: &[File] = &[\n{files}];\n"
    );
    println!("cargo::rerun-if-changed=build.rs");
    fs::write(Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("templates.rs"), code)
}

/// From the project's root, in order.
fn manifests(root: &Path) -> io::Result<Vec<String>> {
    let sdk = root.join("sdk");
    let mut found = Vec::new();
    for language in fs::read_dir(&sdk)? {
        let language = language?.path();
        if !language.is_dir() {
            continue;
        }
        // Whatever comes or goes there may be of a template. That there is one more language is noticed with the next
        // change of another one.
        println!("cargo::rerun-if-changed={}", language.display());
        for entry in fs::read_dir(&language)? {
            let path = entry?.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.starts_with("template") && name.ends_with(".toml") {
                found.push(relative(root, &path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What the lines with `from = "…"` name. The binary reads the manifest properly, and a test holds the two together.
fn vendored(manifest: &str) -> Vec<String> {
    let behind = manifest.split("from = \"").skip(1);
    behind.filter_map(|rest| rest.split_once('"')).map(|(path, _)| path.trim_end_matches('/').to_owned()).collect()
}

fn known_to_git(root: &Path) -> Option<BTreeSet<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").arg("-C").arg(root).args(listing).output().ok()?;
    let names = String::from_utf8(listed.stdout).ok()?;
    listed.status.success().then(|| names.split('\0').map(str::to_owned).collect())
}

fn files_below(root: &Path, from: &str, known: Option<&BTreeSet<String>>) -> io::Result<Vec<String>> {
    let path = root.join(from);
    let mut files = Vec::new();
    if path.is_file() {
        files.push(from.to_owned());
    } else if path.is_dir() {
        let mut folders = vec![path];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() { folders.push(path) } else { files.push(relative(root, &path)) }
            }
        }
    }
    files.retain(|path| known.is_none_or(|known| known.contains(path)));
    Ok(files)
}

fn relative(root: &Path, path: &PathBuf) -> String {
    path.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_else(|| panic!("{path:?} is not Unicode")).to_owned()
}
