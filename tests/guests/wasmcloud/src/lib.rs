//! A handler as it is written for wasmCloud, in the world `wasmcloud:messaging` and with nothing of Wasmill in it. What the
//! message says it does: `fail`, `trap`, `bad subject`, `request`; anything else it answers in upper case to `reply-to`. What it saw it
//! publishes to `seen`, before it fails too.

// Natively there is nothing to export, and no linker takes the names.
#![cfg(target_family = "wasm")]
#![allow(unsafe_code, missing_docs, reason = "generated: the bindings of another world")]

wit_bindgen::generate!({
    path: "../../../host/sandbox/wit/wasmcloud-messaging",
    world: "messaging-handler",
    generate_all,
});

use exports::wasmcloud::messaging::handler::Guest;
use wasi::logging::logging::{Level, log};
use wasmcloud::messaging::{consumer, types::BrokerMessage};

struct Component;

impl Guest for Component {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        log(Level::Info, "guest", &format!("got {text} on {}", message.subject));
        publish("seen", &text, None)?;
        match text.as_str() {
            "fail" => Err("failed as asked".to_owned()),
            "trap" => panic!("trapped as asked"),
            "bad subject" => {
                let refused = publish("no subject..", "x", None).expect_err("it is no subject");
                publish("refused", &refused, None)
            }
            "request" => {
                let refused = consumer::request("seen", b"anybody?", 1_000).expect_err("nobody answers");
                publish("refused", &refused, None)
            }
            "ask" => publish("questions", "what time is it?", Some("answers".to_owned())),
            _ => message.reply_to.map_or(Ok(()), |to| publish(&to, &text.to_uppercase(), None)),
        }
    }
}

fn publish(subject: &str, body: &str, reply_to: Option<String>) -> Result<(), String> {
    consumer::publish(&BrokerMessage { subject: subject.to_owned(), body: body.as_bytes().to_vec(), reply_to })
}

export!(Component);
