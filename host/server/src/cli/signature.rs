//! `wasmill handler keygen`, `sign` and `verify`, which need no host.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use wasmill_delivery::name::Digest;
use wasmill_runtime::{KEY_FILE_BYTES_MAX, PrivateKey, PublicKey, Signature, SignatureRules};

use super::output::say;
use crate::signature_file::{self, signature_path};

/// Nobody but its owner reads a private key.
const PRIVATE_MODE: u32 = 0o600;

#[derive(Debug, clap::Subcommand)]
pub(super) enum SigningCommand {
    /// Make a key to sign components with: the private one in FILE, the public one in FILE.pub
    Keygen {
        /// It must not be there yet
        file: PathBuf,
    },
    /// Sign a component: writes COMPONENT.sig, such as alert.wasm.sig
    Sign {
        component: PathBuf,
        /// The private key, as keygen or `openssl genpkey -algorithm ed25519` wrote it
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Check a component against its signature
    Verify {
        component: PathBuf,
        /// A public key, or a file that holds one
        #[arg(long, required = true, num_args = 1.., value_name = "KEY")]
        trusted: Vec<String>,
        /// The signature, when it is not in COMPONENT.sig
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
    },
}

pub(super) fn run(command: SigningCommand) -> Result<()> {
    match command {
        SigningCommand::Keygen { file } => keygen(&file),
        SigningCommand::Sign { component, key } => sign(&component, &key),
        SigningCommand::Verify { component, trusted, signature } => verify(&component, &trusted, signature.as_deref()),
    }
}

fn keygen(file: &Path) -> Result<()> {
    let public_file = with_suffix(file, ".pub");
    if public_file.exists() {
        bail!("{} is there already, and is not written over; choose another name", public_file.display());
    }
    let key = PrivateKey::generate()?;
    write_new(file, &key.to_pem(), PRIVATE_MODE)?;
    write_new(&public_file, &format!("{}\n", key.public()), 0o644)?;
    say(format!("private key in {}; keep it where only those can read it who may sign", file.display()))?;
    say(format!("public key in {}, to be trusted by hosts:", public_file.display()))?;
    say(key.public())
}

fn sign(component: &Path, key: &Path) -> Result<()> {
    let key = PrivateKey::from_pem(&read_text(key)?).with_context(|| key.display().to_string())?;
    let digest = digest(component)?;
    let path = signature_path(component);
    let text = format!("{}\n", key.sign(&digest));
    signature_file::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    say(format!("{} is signed by {}: {}", digest, key.public(), path.display()))
}

fn verify(component: &Path, trusted: &[String], signature: Option<&Path>) -> Result<()> {
    let trusted = trusted.iter().map(|given| trusted_key(given)).collect::<Result<Vec<_>>>()?;
    let beside = signature_path(component);
    let path = signature.unwrap_or(&beside);
    let signature: Signature = read_text(path)?.parse().with_context(|| path.display().to_string())?;
    let digest = digest(component)?;
    SignatureRules::new(trusted, true)?.check(&digest, Some(&signature))?;
    say(format!("{digest} is signed by {}", signature.key()))
}

/// A key is given as it is, or by the file that holds it.
fn trusted_key(given: &str) -> Result<PublicKey> {
    if given.starts_with("ed25519:") {
        return Ok(given.parse()?);
    }
    read_text(Path::new(given))?.parse().with_context(|| given.to_owned())
}

fn digest(component: &Path) -> Result<Digest> {
    let mut hash = Sha256::new();
    let copied = File::open(component).and_then(|mut file| std::io::copy(&mut file, &mut hash));
    copied.with_context(|| format!("cannot read {}", component.display()))?;
    Ok(Digest(hash.finalize().into()))
}

fn read_text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already, and is not written over; choose another name", path.display())
        }
        written => written.with_context(|| format!("cannot write {}", path.display())),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
