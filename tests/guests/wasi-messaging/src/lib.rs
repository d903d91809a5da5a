//! A handler of `wasi:messaging`, with nothing of Wasmill in it. What the message says it does: `fail`, `trap`, `bad subject`,
//! `request`, `hoard`; anything else it replies to in upper case. What it saw it publishes to `seen`, before it fails too.

// Natively there is nothing to export, and no linker takes the names.
#![cfg(target_family = "wasm")]
#![allow(unsafe_code, missing_docs, reason = "generated: the bindings of another world")]

wit_bindgen::generate!({
    path: "../../../host/sandbox/wit/wasi-messaging",
    world: "messaging-request-reply",
    generate_all,
});

use exports::wasi::messaging::incoming_handler::Guest;
use wasi::messaging::{
    producer, request_reply,
    types::{Client, Error, Message},
};

struct Component;

impl Guest for Component {
    fn handle(message: Message) -> Result<(), Error> {
        let text = String::from_utf8_lossy(&message.data()).into_owned();
        let client = Client::connect("default")?;
        let seen = Message::new(&message.data());
        if let Some(content_type) = message.content_type() {
            seen.set_content_type(&content_type);
        }
        seen.add_metadata("topic-seen", &message.topic().unwrap_or_default());
        producer::send(&client, "seen", seen)?;
        match text.as_str() {
            "fail" => Err(Error::Other("failed as asked".to_owned())),
            "timeout" => Err(Error::Timeout),
            "trap" => panic!("trapped as asked"),
            "bad subject" => {
                let refused = producer::send(&client, "no subject..", Message::new(b"x")).expect_err("no subject");
                producer::send(&client, "refused", Message::new(format!("{refused:?}").as_bytes()))
            }
            "request" => {
                let options = request_reply::RequestOptions::new();
                options.set_timeout_ms(1_000);
                let question = Message::new(b"anybody?");
                let refused = request_reply::request(&client, "seen", &question, Some(options)).expect_err("nobody");
                producer::send(&client, "refused", Message::new(format!("{refused:?}").as_bytes()))
            }
            "hoard" => {
                let _held: Vec<Message> = (0..100).map(|_| Message::new(&vec![0; 1024 * 1024])).collect();
                Ok(())
            }
            "forward" => producer::send(&client, "refused", message),
            _ => request_reply::reply(&message, Message::new(text.to_uppercase().as_bytes())),
        }
    }
}

export!(Component);
