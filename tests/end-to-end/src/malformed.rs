//! Components that nobody would write by hand: damaged, endless, or of absurd numbers.

use crate::hostile::{Expected, Hostile};

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Sections of a component.
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
const TYPE: u8 = 7;

/// All of them. `sound` is a component that fits, to be damaged.
#[must_use]
pub fn corpus(sound: &[u8]) -> Vec<Hostile> {
    let refused = |name: &str, words: &str, wasm: Vec<u8>| Hostile {
        name: name.to_owned(),
        wasm,
        limits: "{}".to_owned(),
        expected: Expected::Refused(words.to_owned()),
    };
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    };
    vec![
        refused("empty", "it is empty", Vec::new()),
        refused("text", "text format", b"(component)".to_vec()),
        refused("noise", "not WebAssembly", [&[0xff][..], &noise(5_000)].concat()),
        refused("noise-after-header", "damaged", [HEADER, &noise(5_000)].concat()),
        refused("header-only-half", "damaged", b"\0asm\x0d\0".to_vec()),
        refused("version-of-the-future", "no version", b"\0asm\xff\xff\x01\0".to_vec()),
        refused("cut-in-the-middle", "damaged", sound[..sound.len() / 2].to_vec()),
        refused("cut-by-a-byte", "damaged", sound[..sound.len() - 1].to_vec()),
        refused("something-behind-it", "damaged", [sound, &noise(100)].concat()),
        refused("section-longer-than-numbers", "damaged", [HEADER, &[TYPE], &[0xff; 10]].concat()),
        refused("section-of-4-gib", "damaged", [HEADER, &[TYPE, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()),
        refused("section-of-1-gib-of-code", "damaged", code_of_1_gib()),
        refused("unknown-section", "damaged", section_of(HEADER, 99, &noise(10))),
        refused("a-billion-types", "damaged", section_of(HEADER, TYPE, &leb(1_000_000_000))),
        refused("name-that-is-no-text", "damaged", section_of(HEADER, CUSTOM, &[3, 0xff, 0xfe, 0xfd])),
        refused("components-1000-deep", "exports none of", nested(1_000)),
        refused("components-100000-deep", "compiling the component took more than", nested(100_000)),
        refused(
            "blocks-1000000-deep",
            "compiling the component took more than",
            in_component(&function(&[&[0x02, 0x40].repeat(1_000_000)[..], &[0x0b].repeat(1_000_000)].concat(), &[])),
        ),
        refused("4-billion-locals", "too many locals", in_component(&function(&[], &leb(0xffff_ffff)))),
        refused("types-of-exponential-size", "effective type size", exponential_types()),
        refused("a-million-instances", "instances count exceeds limit", many_instances()),
        refused("a-million-functions", "functions count exceeds limit", in_component(&functions(1_100_000))),
        refused("exports-90000", "exports none of", in_component(&exports(90_000))),
    ]
}

/// A component that is sound and takes the compiler long: one function of many blocks that jump to each other by large
/// tables, with values that live through all of them.
#[must_use]
pub fn slow_to_compile(blocks: u32) -> Vec<u8> {
    let mut body = [2, 0x40].repeat(blocks as usize);
    for block in 0..blocks {
        // A jump to any of the blocks that are still open, chosen by a local; and work on some locals.
        let open = blocks - block;
        body.extend([&[0x20][..], &leb(block % 500), &[0xa7, 0x0e], &leb(open - 1)].concat());
        (0..open).for_each(|target| body.extend(leb(target)));
        body.push(0x0b);
        for local in 0..20 {
            let (from, to) = (leb((block * 7 + local) % 500), leb((block * 13 + local * 3) % 500));
            body.extend([&[0x20][..], &from, &[0x20], &to, &[0x7c, 0x21], &to].concat());
        }
    }
    in_component(&function(&body, &leb(500)))
}

fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn length(bytes: &[u8]) -> Vec<u8> {
    leb(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &length(content), content].concat()
}

fn section_of(header: &[u8], id: u8, content: &[u8]) -> Vec<u8> {
    [header, &section(id, content)].concat()
}

fn in_component(module: &[u8]) -> Vec<u8> {
    section_of(HEADER, CORE_MODULE, module)
}

fn nested(depth: usize) -> Vec<u8> {
    // The innermost first: each is 8 bytes of header, a section's id and its length longer.
    let mut lengths = vec![HEADER.len()];
    for _ in 0..depth {
        let inner = lengths[lengths.len() - 1];
        lengths.push(HEADER.len() + 1 + leb(u32::try_from(inner).unwrap_or(u32::MAX)).len() + inner);
    }
    let mut bytes = Vec::new();
    for inner in lengths.iter().rev().skip(1) {
        bytes.extend(HEADER);
        bytes.push(COMPONENT);
        bytes.extend(leb(u32::try_from(*inner).unwrap_or(u32::MAX)));
    }
    bytes.extend(HEADER);
    bytes
}

/// A module with one function of type `() -> ()`, with this declaration of locals.
fn function(body: &[u8], locals: &[u8]) -> Vec<u8> {
    let locals = if locals.is_empty() { vec![0] } else { [&[1][..], locals, &[0x7e]].concat() };
    let body = [&locals[..], body, &[0x0b]].concat();
    let code = [&[1][..], &length(&body), &body].concat();
    [CORE_HEADER, &section(1, &[1, 0x60, 0, 0]), &section(3, &[1, 0]), &section(10, &code)].concat()
}

fn functions(count: u32) -> Vec<u8> {
    let zeros = vec![0; count as usize];
    let bodies = [2, 0, 0x0b].repeat(count as usize);
    let declared = [&leb(count)[..], &zeros].concat();
    let code = [&leb(count)[..], &bodies].concat();
    [CORE_HEADER, &section(1, &[1, 0x60, 0, 0]), &section(3, &declared), &section(10, &code)].concat()
}

fn exports(count: u32) -> Vec<u8> {
    let mut names = leb(count);
    for number in 0..count {
        let name = format!("{number:06}");
        names.extend([6].iter().chain(name.as_bytes()).chain(&[0, 0]));
    }
    let code = [1, 2, 0, 0x0b];
    [CORE_HEADER, &section(1, &[1, 0x60, 0, 0]), &section(3, &[1, 0]), &section(7, &names), &section(10, &code)]
        .concat()
}

fn code_of_1_gib() -> Vec<u8> {
    let module =
        [CORE_HEADER, &section(1, &[1, 0x60, 0, 0]), &section(3, &[1, 0]), &[10], &leb(1 << 30), &[1]].concat();
    in_component(&module)
}

/// Each is a pair of the one before: 2^60 parts.
fn exponential_types() -> Vec<u8> {
    let mut types = vec![60, 0x7f];
    for inner in 0..59_u8 {
        types.extend([0x6f, 2, inner, inner]);
    }
    section_of(HEADER, TYPE, &types)
}

/// A million instances of an empty core module.
fn many_instances() -> Vec<u8> {
    let count = 1_000_000;
    let instances = [&leb(count)[..], &[0, 0, 0].repeat(count as usize)].concat();
    [HEADER, &section(CORE_MODULE, CORE_HEADER), &section(2, &instances)].concat()
}
