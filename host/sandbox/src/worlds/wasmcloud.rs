//! `wasmcloud:messaging/handler@0.2.0`: wasmCloud's components. Subjects are topics, and `reply-to` is the header of
//! that name.

use wasmtime::{
    Store,
    component::{HasSelf, Linker},
};

use super::{NO_REQUESTS, outgoing, retry, words};
use crate::{
    attempt::Delivery,
    bindings::wasmill::handler::{producer, types::Failure},
    host_state::HostState,
};

#[allow(missing_docs, unreachable_pub, unsafe_code, unused_qualifications, clippy::all, clippy::unwrap_used)]
mod bindings {
    wasmtime::component::bindgen!({
        world: "messaging-handler",
        path: "wit/wasmcloud-messaging",
        imports: { "wasmcloud:messaging/consumer": async | trappable, default: trappable },
        exports: { default: async },
    });
}

use bindings::{
    wasi::logging::logging::{self, Level},
    wasmcloud::messaging::{
        consumer,
        types::{self, BrokerMessage},
    },
};

pub(super) type Pre = bindings::MessagingHandlerPre<HostState>;
pub(super) type Bound = bindings::MessagingHandler;

const REPLY_TO: &str = "reply-to";

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    consumer::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    logging::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

pub(super) async fn handle(
    bound: &Bound,
    store: &mut Store<HostState>,
    delivery: &Delivery,
) -> wasmtime::Result<Result<(), Failure>> {
    let message = &delivery.message;
    let reply_to = message.headers.iter().find(|(name, _)| name == REPLY_TO).map(|(_, topic)| topic.clone());
    let message = BrokerMessage { subject: message.topic.as_str().to_owned(), body: message.data.to_vec(), reply_to };
    let answer = bound.wasmcloud_messaging_handler().call_handle_message(store, &message).await?;
    Ok(answer.map_err(retry))
}

impl types::Host for HostState {}

impl consumer::Host for HostState {
    async fn publish(&mut self, message: BrokerMessage) -> wasmtime::Result<Result<(), String>> {
        let headers = message.reply_to.map(|topic| (REPLY_TO.to_owned(), topic)).into_iter().collect();
        let published = producer::Host::publish(self, outgoing(message.subject, message.body, headers)).await?;
        Ok(published.map(drop).map_err(words))
    }

    async fn request(&mut self, _: String, _: Vec<u8>, _: u32) -> wasmtime::Result<Result<BrokerMessage, String>> {
        Ok(Err(NO_REQUESTS.to_owned()))
    }
}

impl logging::Host for HostState {
    /// Kept with the attempt like everything that a guest prints.
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        };
        let context = if context.is_empty() { String::new() } else { format!(" {context}") };
        self.print(&format!("{level}{context}: {message}\n"));
        Ok(())
    }
}
