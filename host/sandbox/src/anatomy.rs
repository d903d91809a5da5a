//! What can be told of a component from its bytes: its world, what it imports and exports, who made it, and what makes it
//! large. Nothing is compiled, and what is damaged is told as far as it goes.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of most sections nothing is told, nor of those that are yet to come"
)]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use wasmparser::{
    BinaryReader, ComponentExternalKind, Encoding, KnownCustom, MemoryType, Name, Parser, Payload,
    ProducersSectionReader, Validator, WasmFeatures,
    component_types::{ComponentEntityType, ComponentItem},
    types::Types,
};

use crate::worlds::{self, World};

/// A page of memory, unless the memory says otherwise, in bytes.
const PAGE_BYTES_LOG2: u32 = 16;

/// What a file is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anatomy {
    /// Whether it is a component; otherwise it is a core module.
    pub is_component: bool,
    /// What it targets, of the worlds whose components are handlers.
    pub world: Option<&'static str>,
    /// What it imports, in its order.
    pub imports: Vec<Interface>,
    /// What it exports, in its order.
    pub exports: Vec<Interface>,
    /// What its producers sections say, those of modules in it included: `language`, `sdk` and `processed-by`, each with
    /// names and versions.
    pub producers: BTreeMap<String, BTreeMap<String, String>>,
    /// The core modules in it, in its order.
    pub modules: Vec<Module>,
    /// Bytes by kind of section, of all modules and components in it.
    pub sections: BTreeMap<String, u64>,
    /// Memory that its modules begin with, in bytes.
    pub memory_bytes: u64,
    /// Where and how it is damaged, if it is.
    pub damage: Option<String>,
}

/// An import or export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, of an interface with its version.
    pub name: String,
    /// The functions in it. None that only names types has any.
    pub functions: Vec<String>,
}

/// A core module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// What its name section calls it.
    pub name: Option<String>,
    /// Its size.
    pub bytes: u64,
}

impl Anatomy {
    /// Take apart what begins like WebAssembly.
    #[must_use]
    pub fn of(wasm: &[u8]) -> Self {
        let mut anatomy = Self::default();
        let mut depth = 0_u32;
        // Which module each open part is; none for components.
        let mut open: Vec<Option<usize>> = Vec::new();
        let mut next_module = None;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = match payload {
                Ok(payload) => payload,
                Err(error) => {
                    anatomy.damage = Some(error.to_string());
                    break;
                }
            };
            if let Payload::Version { encoding, .. } = &payload {
                depth += 1;
                if depth == 1 {
                    anatomy.is_component = *encoding == Encoding::Component;
                }
                open.push(next_module.take());
            }
            if let Payload::ModuleSection { unchecked_range, .. } = &payload {
                next_module = Some(anatomy.modules.len());
                anatomy.modules.push(Module { name: None, bytes: unchecked_range.len() as u64 });
            }
            let module = open.last().copied().flatten();
            anatomy.take(&payload, depth, module);
            if matches!(payload, Payload::End(_)) {
                depth = depth.saturating_sub(1);
                open.pop();
            }
        }
        anatomy.add_functions(wasm);
        let exports = |name: &str| anatomy.exports.iter().any(|export| export.name == name);
        anatomy.world = worlds::EXPORTS.iter().find(|(export, _)| exports(export)).map(|(_, world)| name_of(*world));
        anatomy
    }

    fn take(&mut self, payload: &Payload<'_>, depth: u32, module: Option<usize>) {
        match payload {
            Payload::ComponentImportSection(reader) if depth == 1 => {
                let names = reader.clone().into_iter().flatten().map(|import| import.name.name);
                self.imports.extend(names.map(Interface::named));
            }
            Payload::ComponentExportSection(reader) if depth == 1 => {
                let exports = reader.clone().into_iter().flatten();
                let exports = exports.filter(|export| export.kind != ComponentExternalKind::Type);
                self.exports.extend(exports.map(|export| Interface::named(export.name.name)));
            }
            Payload::MemorySection(reader) => {
                self.memory_bytes += reader.clone().into_iter().flatten().map(bytes_of).sum::<u64>();
            }
            Payload::CustomSection(custom) => match custom.as_known() {
                KnownCustom::Producers(reader) => self.take_producers(reader),
                KnownCustom::Name(names) => {
                    let found = names.flatten().find_map(|name| match name {
                        Name::Module { name, .. } => Some(name.to_owned()),
                        _ => None,
                    });
                    if let (Some(name), Some(module)) = (found, module.and_then(|at| self.modules.get_mut(at))) {
                        module.name = Some(name);
                    }
                }
                _ => self.take_component_producers(custom.name(), custom.data()),
            },
            _ => {}
        }
        if let Some((kind, bytes)) = section(payload) {
            *self.sections.entry(kind).or_default() += bytes;
        }
    }

    fn take_component_producers(&mut self, name: &str, data: &[u8]) {
        if name == "producers"
            && let Ok(reader) = ProducersSectionReader::new(BinaryReader::new(data, 0))
        {
            self.take_producers(reader);
        }
    }

    fn take_producers(&mut self, reader: ProducersSectionReader<'_>) {
        for field in reader.into_iter().flatten() {
            let of_field = self.producers.entry(field.name.to_owned()).or_default();
            for value in field.values.into_iter().flatten() {
                of_field.insert(value.name.to_owned(), value.version.to_owned());
            }
        }
    }

    /// The functions of each interface, when it is sound enough for its types to be known.
    fn add_functions(&mut self, wasm: &[u8]) {
        if !self.is_component || self.damage.is_some() {
            return;
        }
        // A mistake in the validator that some component brings out costs no more than the names.
        let validating = AssertUnwindSafe(|| Validator::new_with_features(WasmFeatures::all()).validate_all(wasm));
        let types = match catch_unwind(validating) {
            Ok(Ok(types)) => types,
            Ok(Err(error)) => {
                self.damage = Some(error.to_string());
                return;
            }
            Err(_) => return,
        };
        for import in &mut self.imports {
            import.functions = functions(&types, types.component_item_for_import(&import.name));
        }
        for export in &mut self.exports {
            export.functions = functions(&types, types.component_item_for_export(&export.name));
        }
    }
}

impl Interface {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), functions: Vec::new() }
    }
}

fn name_of(world: World) -> &'static str {
    match world {
        World::Wasmill => "wasmill:handler/message-handler",
        World::Batch => "wasmill:handler/batch-message-handler",
        World::WasiMessaging => "wasi:messaging",
        World::Wasmcloud => "wasmcloud:messaging",
    }
}

fn functions(types: &Types, item: Option<&ComponentItem>) -> Vec<String> {
    match item.map(|item| item.ty) {
        Some(ComponentEntityType::Instance(instance)) => {
            let exports = types[instance].exports.iter();
            let functions = exports.filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
            functions.map(|(name, _)| name.clone()).collect()
        }
        Some(_) | None => Vec::new(),
    }
}

fn bytes_of(memory: MemoryType) -> u64 {
    let page_log2 = memory.page_size_log2.unwrap_or(PAGE_BYTES_LOG2);
    1_u64.checked_shl(page_log2).and_then(|page| page.checked_mul(memory.initial)).unwrap_or(u64::MAX)
}

/// What a section is called, and its size. Parts that have sections of their own are not counted besides.
fn section(payload: &Payload<'_>) -> Option<(String, u64)> {
    let kind = match payload {
        Payload::CustomSection(custom) if custom.name().starts_with(".debug") => "debug information".to_owned(),
        Payload::CustomSection(custom) => format!("custom: {}", custom.name()),
        Payload::CodeSectionStart { .. } => "code".to_owned(),
        Payload::DataSection(_) => "data".to_owned(),
        Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => return None,
        _ => "other".to_owned(),
    };
    let (_, range) = payload.as_section()?;
    Some((kind, range.len() as u64))
}
