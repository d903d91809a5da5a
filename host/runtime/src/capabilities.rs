//! What a handler asks for beside what it is granted. Its imports are the request, its settings are the answer.

use wasmill_delivery::record::HandlerRecord;

const HTTP: &str = "wasi:http/outgoing-handler";
const CONFIG: &str = "wasi:config/store";
/// There to be linked, because most languages' libraries import them; they hold nothing and nothing can be granted.
const ALWAYS_EMPTY: [&str; 3] = ["wasi:filesystem/", "wasi:sockets/", "wasi:cli/environment"];

/// Imports that lead nowhere, because nothing is granted for them.
#[must_use]
pub fn imports_not_granted(record: &HandlerRecord, imports: &[String]) -> Vec<String> {
    let leads_nowhere = |import: &&String| {
        (import.starts_with(HTTP) && record.grants.http.is_empty())
            || (import.starts_with(CONFIG) && record.config.is_empty() && record.secrets.is_empty())
            || ALWAYS_EMPTY.iter().any(|name| import.starts_with(name))
    };
    imports.iter().filter(leads_nowhere).cloned().collect()
}

/// Kinds of grants that the component has no import for, as they are called in the configuration.
#[must_use]
pub fn grants_unused(record: &HandlerRecord, imports: &[String]) -> Vec<&'static str> {
    let imports = |name: &str| imports.iter().any(|import| import.starts_with(name));
    let (http, config) = (imports(HTTP), imports(CONFIG));
    let unused = [
        ("grants.http", !record.grants.http.is_empty() && !http),
        ("grants.addresses", !record.grants.addresses.is_empty() && (!http || record.grants.http.is_empty())),
        ("config", !record.config.is_empty() && !config),
        ("secrets", !record.secrets.is_empty() && !config),
    ];
    unused.into_iter().filter_map(|(name, unused)| unused.then_some(name)).collect()
}

/// What a component imports that the one before it did not. Patches of one version are the same.
pub(crate) fn asked_for_more(before: &[String], now: &[String]) -> Vec<String> {
    let known = |import: &&String| before.iter().any(|known| same_interface(known, import));
    now.iter().filter(|import| !known(import)).cloned().collect()
}

fn same_interface(one: &str, other: &str) -> bool {
    fn name(interface: &str) -> &str {
        interface.split_once('@').map_or(interface, |(name, _)| name)
    }
    name(one) == name(other)
}

#[cfg(test)]
mod tests {
    use wasmill_delivery::{name::HandlerName, time::Timestamp};

    use super::*;

    fn record(http: &[&str], addresses: &[&str], config: bool) -> HandlerRecord {
        let mut record = HandlerRecord {
            name: HandlerName::new("tested").expect("a name"),
            digest: None,
            loaded_at: Timestamp(0),
            config: Default::default(),
            limits: Default::default(),
            grants: Default::default(),
            secrets: Default::default(),
            imports: None,
            versions: Box::default(),
            replacing: Box::default(),
        };
        record.grants.http = http.iter().map(|text| text.parse().expect(text)).collect();
        record.grants.addresses = addresses.iter().map(|text| text.parse().expect(text)).collect();
        if config {
            record.config.insert("a".to_owned(), "b".to_owned());
        }
        record
    }

    fn imports(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn requests_and_grants_are_compared() {
        let both =
            imports(&["wasi:http/outgoing-handler@0.2.12", "wasi:config/store@0.2.0-draft", "wasi:io/poll@0.2.0"]);
        assert_eq!(imports_not_granted(&record(&[], &[], false), &both), both[..2]);
        assert_eq!(imports_not_granted(&record(&["https://a.b"], &[], true), &both), imports(&[]));
        assert!(grants_unused(&record(&["https://a.b"], &["10.0.0.0/8"], true), &both).is_empty());
        let granted = record(&["https://a.b"], &["10.0.0.0/8"], true);
        assert_eq!(grants_unused(&granted, &[]), ["grants.http", "grants.addresses", "config"]);
        assert_eq!(grants_unused(&record(&[], &["10.0.0.0/8"], false), &both), ["grants.addresses"]);
        let files = imports(&["wasi:filesystem/types@0.2.0"]);
        assert_eq!(imports_not_granted(&record(&["https://a.b"], &[], true), &files), files);
    }

    #[test]
    fn only_another_interface_is_more() {
        let before = imports(&["wasi:io/poll@0.2.0", "wasmill:handler/state@0.1.0"]);
        assert!(asked_for_more(&before, &imports(&["wasi:io/poll@0.2.9"])).is_empty());
        let now = imports(&["wasi:http/types@0.2.0", "wasi:io/poll@0.2.0"]);
        assert_eq!(asked_for_more(&before, &now), ["wasi:http/types@0.2.0"]);
    }
}
