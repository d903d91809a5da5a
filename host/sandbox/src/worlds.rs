//! The worlds whose components are run: ours, and two that others wrote.
//!
//! A component of another world runs unmodified and with the same promises: what it publishes takes effect when its
//! delivery commits, its error is a `retry`, and its limits are a handler's.

mod batch;
mod wasi_messaging;
mod wasmcloud;

use wasmtime::{
    Engine, Store,
    component::{Component, InstancePre, Linker},
};

use crate::{
    attempt::Delivery,
    bindings::{
        MessageHandler, MessageHandlerPre,
        wasmill::handler::{
            producer::{Outgoing, PublishError},
            types::{Failure, RetryRequest},
        },
    },
    fit::LoadError,
    host_state::HostState,
    session::{borrowed, borrowed_headers},
};

pub(crate) use wasi_messaging::Held;

/// What a handler exports, by world. A component that exports several is taken for the first.
pub(crate) const EXPORTS: &[(&str, World)] = &[
    ("wasmill:handler/handler@0.1.0", World::Wasmill),
    (batch::EXPORT, World::Batch),
    ("wasi:messaging/incoming-handler@0.2.0-draft", World::WasiMessaging),
    ("wasmcloud:messaging/handler@0.2.0", World::Wasmcloud),
];

/// A world whose components are handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    Wasmill,
    Batch,
    WasiMessaging,
    Wasmcloud,
}

/// A component that was linked, by its world.
pub(crate) enum Linked {
    Wasmill(MessageHandlerPre<HostState>),
    Batch(batch::Pre),
    WasiMessaging(wasi_messaging::Pre),
    Wasmcloud(wasmcloud::Pre),
}

/// An instance that can be called, by its world.
pub(crate) enum Started {
    Wasmill(MessageHandler),
    Batch(batch::Bound),
    WasiMessaging(wasi_messaging::Bound),
    Wasmcloud(wasmcloud::Bound),
}

pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasi_messaging::add_to_linker(linker)?;
    wasmcloud::add_to_linker(linker)
}

/// The world of a component; none when it exports no handler.
pub(crate) fn world_of(component: &Component) -> Option<(&'static str, World)> {
    EXPORTS.iter().copied().find(|(export, _)| component.get_export_index(None, export).is_some())
}

impl Linked {
    /// Find the function to call; `pre` exports the world's interface.
    pub(crate) fn new(world: World, component: &Component, pre: InstancePre<HostState>) -> Result<Self, LoadError> {
        let linked = match world {
            World::Wasmill => MessageHandlerPre::new(pre).map(Self::Wasmill),
            World::Batch => return batch::Pre::new(component, pre).map(Self::Batch),
            World::WasiMessaging => wasi_messaging::Pre::new(pre).map(Self::WasiMessaging),
            World::Wasmcloud => wasmcloud::Pre::new(pre).map(Self::Wasmcloud),
        };
        linked.map_err(|error| LoadError::WrongExport { detail: format!("{error:#}") })
    }

    pub(crate) const fn takes_batches(&self) -> bool {
        matches!(self, Self::Batch(_))
    }

    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Wasmill(pre) => pre.engine(),
            Self::Batch(pre) => pre.engine(),
            Self::WasiMessaging(pre) => pre.engine(),
            Self::Wasmcloud(pre) => pre.engine(),
        }
    }

    pub(crate) async fn start(&self, store: &mut Store<HostState>) -> wasmtime::Result<Started> {
        Ok(match self {
            Self::Wasmill(pre) => Started::Wasmill(pre.instantiate_async(store).await?),
            Self::Batch(pre) => Started::Batch(pre.start(store).await?),
            Self::WasiMessaging(pre) => Started::WasiMessaging(pre.instantiate_async(store).await?),
            Self::Wasmcloud(pre) => Started::Wasmcloud(pre.instantiate_async(store).await?),
        })
    }
}

impl Started {
    pub(crate) async fn handle(
        &self,
        store: &mut Store<HostState>,
        delivery: &Delivery,
    ) -> wasmtime::Result<Result<(), Failure>> {
        match self {
            Self::Wasmill(handler) => {
                let headers = borrowed_headers(delivery);
                handler.wasmill_handler_handler().call_handle(store, borrowed(delivery, &headers)).await
            }
            Self::Batch(bound) => {
                let answers = batch::handle(bound, store, std::slice::from_ref(delivery)).await?;
                Ok(answers.into_iter().next().unwrap_or(Ok(())))
            }
            Self::WasiMessaging(bound) => wasi_messaging::handle(bound, store, delivery).await,
            Self::Wasmcloud(bound) => wasmcloud::handle(bound, store, delivery).await,
        }
    }
}

impl Started {
    /// One answer for each delivery. The program must take batches.
    pub(crate) async fn handle_batch(
        &self,
        store: &mut Store<HostState>,
        deliveries: &[Delivery],
    ) -> wasmtime::Result<Vec<Result<(), Failure>>> {
        match self {
            Self::Batch(bound) => batch::handle(bound, store, deliveries).await,
            Self::Wasmill(_) | Self::WasiMessaging(_) | Self::Wasmcloud(_) => {
                Err(wasmtime::Error::msg("the handler takes one delivery in a call"))
            }
        }
    }
}

/// A failure that another world knows no more of than its words: it may pass.
fn retry(reason: String) -> Failure {
    Failure::Retry(RetryRequest { reason, after: None })
}

/// What a message of another world is published as.
fn outgoing(topic: String, data: Vec<u8>, headers: Vec<(String, String)>) -> Outgoing {
    Outgoing { topic, key: None, content_type: None, headers, data, delay: None, expires_after: None }
}

fn words(error: PublishError) -> String {
    match error {
        PublishError::InvalidTopic(words) | PublishError::InvalidMessage(words) => words,
        PublishError::TooLarge(bytes) => {
            format!("the message is larger than {bytes} bytes, the most that this host takes")
        }
    }
}

/// Why a request is not made: its answer would be needed before the delivery commits, and until then nothing that the
/// delivery publishes exists.
const NO_REQUESTS: &str = "a handler cannot wait for a reply: what it publishes exists only when its delivery commits. Publish \
                           the request with a reply-to, and handle the reply as a message of its own";
