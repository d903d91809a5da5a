//! What was found, as text and as JSON.

use std::path::Path;

use serde_json::{Value, json};
use wasmill_runtime::inspect::{Anatomy, Interface, LoadError};

use super::cost::Cost;
use crate::cli::output::{cut, facts, indent, list, size};

/// Of the largest modules and kinds of sections, so many are shown.
const LARGEST_SHOWN: usize = 5;
/// What is shown of an interface's functions, in characters; JSON has all.
const FUNCTIONS_CHARS_SHOWN: usize = 80;
/// Imports that ask an operator for something, with what to give.
const NEEDS: &[(&str, &str)] = &[
    (
        "wasi:http/outgoing-handler",
        "HTTP: list the origins under grants = { http = [\"https://…\"] } of [handler.NAME]",
    ),
    ("wasi:config/store", "configuration: config = { … } and secrets = { … } of [handler.NAME], as it documents"),
    ("wasmill:handler/producer", "queues that bind the topics that it publishes to"),
    ("wasi:messaging/producer", "queues that bind the topics that it publishes to"),
    ("wasmcloud:messaging/consumer", "queues that bind the subjects that it publishes to"),
];
/// Imports that are there so that languages' libraries link, and lead nowhere.
const EMPTY: &[(&str, &str)] =
    &[("wasi:filesystem/", "files"), ("wasi:sockets/", "sockets"), ("wasi:cli/environment", "the environment")];

pub(super) struct Report<'a> {
    pub(super) file: &'a Path,
    pub(super) bytes: u64,
    pub(super) anatomy: Anatomy,
    pub(super) refusal: Option<LoadError>,
    pub(super) cost: Option<Cost>,
}

impl Report<'_> {
    /// Whether it would load, and handled what it was measured with.
    pub(super) fn is_good(&self) -> bool {
        self.refusal.is_none() && self.cost.as_ref().is_none_or(Cost::succeeded)
    }

    pub(super) fn json(&self) -> Value {
        let Anatomy { is_component, world, imports, exports, producers, modules, sections, memory_bytes, damage } =
            &self.anatomy;
        let listed = |interfaces: &[Interface]| -> Vec<Value> {
            interfaces.iter().map(|it| json!({ "name": it.name, "functions": it.functions })).collect()
        };
        let modules: Vec<Value> =
            modules.iter().map(|module| json!({ "name": module.name, "bytes": module.bytes })).collect();
        json!({
            "file": self.file,
            "kind": if *is_component { "component" } else if self.is_webassembly() { "module" } else { "other" },
            "bytes": self.bytes,
            "world": world,
            "imports": listed(imports),
            "exports": listed(exports),
            "producers": producers,
            "modules": modules,
            "sections": sections,
            "memory_bytes_initial": memory_bytes,
            "damage": damage,
            "would_load": self.refusal.is_none(),
            "refusal": self.refusal.as_ref().map(ToString::to_string),
            "needs": self.needs(),
            "empty": self.empty(),
            "cost": self.cost.as_ref().map(Cost::json),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut parts = vec![facts(&[("file", self.file.display().to_string()), ("size", size(self.bytes))])];
        if self.is_webassembly() {
            parts.extend(self.anatomy_text());
        }
        parts.push(match &self.refusal {
            None => "this host would load it".to_owned(),
            Some(refusal) => format!("this host would not load it: {refusal}"),
        });
        if self.refusal.is_none() {
            let needs = self.needs();
            if !needs.is_empty() {
                parts.push(format!("it asks for\n{}", indent(&needs.join("\n"), "  ")));
            }
            if !self.empty().is_empty() {
                parts.push(format!("it imports {}, which are there and empty", self.empty().join(", ")));
            }
        }
        parts.extend(self.cost.as_ref().map(Cost::text));
        parts.join("\n\n")
    }

    fn anatomy_text(&self) -> Vec<String> {
        let Anatomy { is_component, world, imports, exports, memory_bytes, damage, .. } = &self.anatomy;
        let mut known = vec![
            ("kind", if *is_component { "component" } else { "core module" }.to_owned()),
            ("world", world.unwrap_or("none of a handler").to_owned()),
        ];
        for (field, name) in [("language", "language"), ("sdk", "sdk"), ("processed-by", "made by")] {
            if let Some(values) = self.anatomy.producers.get(field) {
                let values: Vec<String> =
                    values.iter().map(|(name, version)| format!("{name} {version}").trim().to_owned()).collect();
                known.push((name, list(&values)));
            }
        }
        known.push(("memory", format!("{} to begin with", size(*memory_bytes))));
        if let Some(damage) = damage {
            known.push(("damage", damage.clone()));
        }
        let mut parts = vec![facts(&known)];
        for (title, interfaces) in [("exports", exports), ("imports", imports)] {
            if !interfaces.is_empty() {
                let lines: Vec<String> = interfaces.iter().map(line).collect();
                parts.push(format!("{title}\n{}", indent(&lines.join("\n"), "  ")));
            }
        }
        parts.extend(self.largest());
        parts
    }

    fn largest(&self) -> Option<String> {
        let modules = self.anatomy.modules.iter().enumerate().map(|(index, module)| {
            let name = module.name.clone().unwrap_or_else(|| format!("number {index}"));
            (format!("module {name}"), module.bytes)
        });
        let sections = self.anatomy.sections.iter().map(|(kind, bytes)| (kind.clone(), *bytes));
        let lines: Vec<String> = [largest_of(modules), largest_of(sections)].concat();
        (!lines.is_empty()).then(|| format!("largest\n{}", indent(&lines.join("\n"), "  ")))
    }

    fn needs(&self) -> Vec<&'static str> {
        self.matching(NEEDS)
    }

    fn empty(&self) -> Vec<&'static str> {
        self.matching(EMPTY)
    }

    /// Only what has functions asks for anything.
    fn matching(&self, known: &[(&str, &'static str)]) -> Vec<&'static str> {
        let imports =
            |name: &str| self.anatomy.imports.iter().any(|it| it.name.starts_with(name) && !it.functions.is_empty());
        let mut words: Vec<&'static str> =
            known.iter().filter(|(name, _)| imports(name)).map(|(_, words)| *words).collect();
        words.dedup();
        words
    }

    fn is_webassembly(&self) -> bool {
        !matches!(self.refusal, Some(LoadError::NotWebAssembly { .. }))
    }
}

fn line(interface: &Interface) -> String {
    if interface.functions.is_empty() {
        return interface.name.clone();
    }
    format!("{}: {}", interface.name, cut(&interface.functions.join(", "), FUNCTIONS_CHARS_SHOWN))
}

fn largest_of(parts: impl Iterator<Item = (String, u64)>) -> Vec<String> {
    let mut parts: Vec<(String, u64)> = parts.collect();
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    parts.truncate(LARGEST_SHOWN);
    parts.into_iter().map(|(name, bytes)| format!("{:>10}  {name}", size(bytes))).collect()
}
