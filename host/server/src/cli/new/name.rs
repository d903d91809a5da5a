//! What a project may be called: its name becomes that of a folder, a handler, a package and a module, in every language.

use anyhow::{Result, ensure};

/// What the strictest of the package managers takes.
const NAME_CHARS_MAX: usize = 64;

/// Names that mean something else to one of the languages or to the SDK.
const TAKEN: &[&str] = &[
    "abstract",
    "alignas",
    "and",
    "as",
    "assert",
    "async",
    "await",
    "become",
    "bool",
    "box",
    "break",
    "build",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "constexpr",
    "continue",
    "core",
    "crate",
    "debugger",
    "def",
    "default",
    "defer",
    "del",
    "delete",
    "deps",
    "do",
    "double",
    "dyn",
    "elif",
    "else",
    "enum",
    "errdefer",
    "eval",
    "except",
    "explicit",
    "export",
    "extends",
    "extern",
    "false",
    "final",
    "finally",
    "float",
    "fn",
    "for",
    "from",
    "func",
    "function",
    "gen",
    "global",
    "goto",
    "handler",
    "if",
    "impl",
    "implements",
    "import",
    "in",
    "inline",
    "instanceof",
    "int",
    "interface",
    "is",
    "lambda",
    "let",
    "long",
    "loop",
    "macro",
    "main",
    "match",
    "mod",
    "move",
    "mut",
    "namespace",
    "new",
    "nonlocal",
    "not",
    "null",
    "operator",
    "or",
    "orelse",
    "override",
    "package",
    "pass",
    "priv",
    "private",
    "protected",
    "pub",
    "public",
    "raise",
    "ref",
    "register",
    "return",
    "self",
    "serde",
    "short",
    "signed",
    "sizeof",
    "static",
    "std",
    "struct",
    "super",
    "switch",
    "template",
    "test",
    "this",
    "throw",
    "trait",
    "true",
    "try",
    "type",
    "typedef",
    "typeof",
    "undefined",
    "union",
    "unsafe",
    "unsigned",
    "unsized",
    "use",
    "using",
    "var",
    "virtual",
    "void",
    "volatile",
    "wasmill",
    "where",
    "while",
    "with",
    "world",
    "yield",
];

/// # Errors
/// When it is not fit, saying what is.
pub(super) fn check_name(name: &str) -> Result<()> {
    let is_kebab = name
        .split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    ensure!(
        is_kebab && begins_well && name.len() <= NAME_CHARS_MAX,
        "{name:?} cannot be the name of a handler's project; take lower case letters, digits and single dashes between \
         them, a letter first, {NAME_CHARS_MAX} at most: quake-alert"
    );
    ensure!(
        !TAKEN.contains(&name),
        "{name:?} means something else to one of the languages or to the SDK; take a name of two words: {name}-messages"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_every_language() {
        let longest = "a".repeat(NAME_CHARS_MAX);
        for name in ["quake-alert", "a", "x2", "a-1-b", longest.as_str()] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let too_long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in
            ["", "-", "a-", "-a", "a--b", "A", "a_b", "a.b", "a/b", "../a", "1a", "\u{e4}", "a b", too_long.as_str()]
        {
            let said = check_name(name).expect_err(name).to_string();
            assert!(said.contains("lower case"), "{said}");
        }
        for name in ["wasmill", "fn", "class", "std"] {
            assert!(check_name(name).expect_err(name).to_string().contains("two words"), "{name}");
        }
    }
}
