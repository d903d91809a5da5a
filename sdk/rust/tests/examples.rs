//! Every public item of the SDK has an example in its documentation, which the doc tests run. Fields, variants and modules
//! need none of their own, nor does what only implements a trait.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quote::ToTokens as _;
use syn::{Attribute, ImplItem, Item, TraitItem, Visibility};

/// What only the attributes call, and what is behind a `Context`.
const NOT_FOR_HANDLERS: [&str; 3] = ["src/glue.rs", "src/host.rs", "src/host/"];

#[test]
fn every_public_item_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut items, mut without) = (0, Vec::new());
    for path in sources(&root.join("src")) {
        let name = path.strip_prefix(root).expect("below the crate").display().to_string();
        if NOT_FOR_HANDLERS.iter().any(|skipped| name.starts_with(skipped)) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (item, attributes) in file.items.iter().flat_map(public) {
            items += 1;
            if !has_example(attributes) {
                without.push(format!("{name}: {item}"));
            }
        }
    }
    assert!(items > 100, "only {items} items were found; is this test still looking in the right place?");
    assert!(without.is_empty(), "without an example: {without:#?}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

fn has_example(attributes: &[Attribute]) -> bool {
    let docs = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    docs.map(|doc| doc.to_token_stream().to_string()).filter(|doc| doc.contains("```")).count() >= 2
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "what Rust has besides is not what a crate offers")]
fn public(item: &Item) -> Vec<(String, &[Attribute])> {
    match item {
        Item::Fn(item) if is_public(&item.vis) => vec![(item.sig.ident.to_string(), &item.attrs)],
        Item::Struct(item) if is_public(&item.vis) => vec![(item.ident.to_string(), &item.attrs)],
        Item::Enum(item) if is_public(&item.vis) => vec![(item.ident.to_string(), &item.attrs)],
        Item::Type(item) if is_public(&item.vis) => vec![(item.ident.to_string(), &item.attrs)],
        Item::Trait(item) if is_public(&item.vis) => {
            let methods = item.items.iter().filter_map(|method| match method {
                TraitItem::Fn(method) => Some((method.sig.ident.to_string(), &method.attrs[..])),
                _ => None,
            });
            std::iter::once((item.ident.to_string(), &item.attrs[..])).chain(methods).collect()
        }
        Item::Impl(item) if item.trait_.is_none() => {
            let of = item.self_ty.to_token_stream().to_string();
            let methods = item.items.iter().filter_map(|method| match method {
                ImplItem::Fn(method) if is_public(&method.vis) => {
                    Some((format!("{of}::{}", method.sig.ident), &method.attrs[..]))
                }
                _ => None,
            });
            methods.collect()
        }
        Item::Macro(item) if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) => {
            vec![(item.ident.as_ref().map(ToString::to_string).unwrap_or_default(), &item.attrs)]
        }
        Item::Use(item)
            if is_public(&item.vis) && item.attrs.iter().any(|attribute| attribute.path().is_ident("doc")) =>
        {
            vec![(item.tree.to_token_stream().to_string(), &item.attrs)]
        }
        _ => Vec::new(),
    }
}
