//! A sound component that is no handler: it exports something else. Proves that such a one is refused when it is
//! loaded, with the name of what is missing, and that no message pays for it.

#![allow(unsafe_code, missing_docs, reason = "generated: its own bindings, as the SDK has only those of handlers")]

wit_bindgen::generate!({
    inline: "
        package wasmill-tests:wrong-world;

        world wrong {
            export answer: func() -> u32;
        }
    ",
    world: "wrong",
});

struct Component;

impl Guest for Component {
    fn answer() -> u32 {
        42
    }
}

export!(Component);
