//! Secrets of handlers, read when they are needed and kept in memory only.

use std::{collections::BTreeMap, io};

use wasmill_delivery::{
    limits::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRETS_MAX},
    name::HandlerName,
    record::{HandlerRecord, SecretSource},
};
use wasmill_sandbox::Secrets;

use crate::error::HostError;

/// As [`read`]. Files are read away from the threads that answer requests.
pub(crate) async fn read_off_thread(record: &HandlerRecord) -> Result<Secrets, HostError> {
    if record.secrets.is_empty() {
        return read(record);
    }
    let record = record.clone();
    let reading = tokio::task::spawn_blocking(move || read(&record));
    reading.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
}

/// Read the secrets of a handler, from where its record says they are.
///
/// # Errors
/// When one is not there or is no secret. The error names it and not its value.
pub(crate) fn read(record: &HandlerRecord) -> Result<Secrets, HostError> {
    check(&record.name, &record.secrets, &record.config)?;
    let mut values = BTreeMap::new();
    for (name, source) in &record.secrets {
        let value = read_one(source).and_then(checked);
        let value = value.map_err(|problem| refusal(&record.name, name, problem))?;
        values.insert(name.clone(), value);
    }
    Ok(Secrets::new(values))
}

fn check(
    handler: &HandlerName,
    secrets: &BTreeMap<String, SecretSource>,
    config: &BTreeMap<String, String>,
) -> Result<(), HostError> {
    if let Some(name) = secrets.keys().find(|name| config.contains_key(*name)) {
        return Err(refusal(
            handler,
            name,
            "has the name of a configured value; a handler reads both by name".to_owned(),
        ));
    }
    match secrets.keys().nth(SECRETS_MAX) {
        Some(name) => Err(refusal(handler, name, format!("is one too many; a handler has at most {SECRETS_MAX}"))),
        None => Ok(()),
    }
}

fn refusal(handler: &HandlerName, secret: &str, problem: String) -> HostError {
    HostError::Secret { handler: handler.clone(), secret: secret.to_owned(), problem }
}

fn read_one(source: &SecretSource) -> Result<String, String> {
    match source {
        SecretSource::Env(variable) => std::env::var(&**variable).map_err(|error| match error {
            std::env::VarError::NotPresent => format!("is not there: the host's environment has no {variable}"),
            std::env::VarError::NotUnicode(_) => format!("is not text: {variable} in the host's environment"),
        }),
        SecretSource::File(file) => {
            let limit = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX) + 2;
            read_file(file, limit).map_err(|error| format!("cannot be read from {file}: {error}"))
        }
    }
}

/// Files of secrets end in a line break as a rule, which is not part of them.
fn read_file(file: &str, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(std::fs::File::open(file)?, bytes_max), &mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn checked(value: String) -> Result<String, String> {
    match value.len() {
        bytes if bytes < SECRET_BYTES_MIN => Err(format!(
            "is shorter than {SECRET_BYTES_MIN} bytes, so it could not be kept out of logs; make it longer, or put it under config if \
             it is none"
        )),
        bytes if bytes > SECRET_BYTES_MAX => Err(format!("is longer than {SECRET_BYTES_MAX} bytes")),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmill_delivery::time::Timestamp;

    use super::*;

    fn record(secrets: &[(&str, SecretSource)], config: &[&str]) -> HandlerRecord {
        HandlerRecord {
            name: HandlerName::new("tested").expect("a name"),
            digest: None,
            loaded_at: Timestamp(0),
            config: config.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
            limits: Default::default(),
            grants: Default::default(),
            secrets: secrets.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect(),
            imports: None,
            versions: Box::default(),
            replacing: Box::default(),
        }
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretSource) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, content).expect("a file");
        (folder, SecretSource::File(Arc::from(path.to_str().expect("text"))))
    }

    #[test]
    fn what_is_no_secret_is_refused_by_name_and_not_shown() {
        for (content, words) in [
            (&b"12345\n"[..], "shorter than 6 bytes"),
            (b"", "shorter than 6 bytes"),
            (&[b'x'; SECRET_BYTES_MAX + 1], "longer than 65536 bytes"),
            (b"\xff\xff\xff\xff\xff\xff\xff", "cannot be read"),
        ] {
            let (_folder, source) = file(content);
            let refusal = read(&record(&[("KEY", source)], &[])).expect_err(words).to_string();
            assert!(refusal.contains("secret KEY") && refusal.contains(words), "{refusal}");
            assert!(!refusal.contains("12345"), "{refusal}");
        }
        let missing = SecretSource::Env("WASMILL_THERE_IS_NO_SUCH_VARIABLE".into());
        let refusal = read(&record(&[("KEY", missing)], &[])).expect_err("not there").to_string();
        assert!(refusal.contains("has no WASMILL_THERE_IS_NO_SUCH_VARIABLE"), "{refusal}");
        let (_folder, source) = file(b"long enough");
        let refusal = read(&record(&[("KEY", source.clone())], &["KEY"])).expect_err("twice").to_string();
        assert!(refusal.contains("name of a configured value"), "{refusal}");
        let names: Vec<String> = (0..=SECRETS_MAX).map(|number| format!("KEY{number:03}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), source.clone())).collect();
        let refusal = read(&record(&many, &[])).expect_err("too many").to_string();
        assert!(refusal.contains("at most 64"), "{refusal}");
        assert!(read(&record(&many[..SECRETS_MAX], &[])).is_ok());
    }
}
