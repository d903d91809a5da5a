//! `wasi:messaging/incoming-handler@0.2.0-draft`: the proposal of the WebAssembly system interface. Topics are topics,
//! metadata are headers, and a reply goes to the header `reply-to` of what it answers.

use bytes::Bytes;
use wasmtime::{
    Store,
    component::{HasSelf, Linker, Resource},
};
use wasmtime_wasi::WasiView as _;

use super::{NO_REQUESTS, outgoing, retry, words};
use crate::{
    attempt::Delivery,
    bindings::wasmill::handler::{producer as ours, types::Failure},
    host_state::HostState,
    session::borrowed_headers,
    stop::Stop,
};

#[allow(missing_docs, unreachable_pub, unsafe_code, unused_qualifications, clippy::all, clippy::unwrap_used)]
mod bindings {
    wasmtime::component::bindgen!({
        world: "messaging-request-reply",
        path: "wit/wasi-messaging",
        imports: {
            "wasi:messaging/producer": async | trappable,
            "wasi:messaging/request-reply.reply": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "wasi:messaging/types.client": super::Client,
            "wasi:messaging/types.message": super::Message,
            "wasi:messaging/request-reply.request-options": super::RequestOptions,
        },
    });
}

use bindings::wasi::messaging::{
    producer, request_reply,
    types::{self, Error, Metadata, Topic},
};

pub(super) type Pre = bindings::MessagingRequestReplyPre<HostState>;
pub(super) type Bound = bindings::MessagingRequestReply;

const REPLY_TO: &str = "reply-to";

/// There is one service to connect to, this host, so there is nothing to know of a connection.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Client;

/// No request is made, so its options are not kept.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct RequestOptions;

/// A message that a guest holds: the delivery's, or one that it makes.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Message {
    topic: Option<String>,
    content_type: Option<String>,
    data: Bytes,
    metadata: Option<Metadata>,
    /// What of it the guest made and the host keeps for it, in bytes.
    bytes_made: u64,
}

/// What the messages that an instance holds take of the host's memory, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: u64,
}

pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    producer::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    request_reply::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

pub(super) async fn handle(
    bound: &Bound,
    store: &mut Store<HostState>,
    delivery: &Delivery,
) -> wasmtime::Result<Result<(), Failure>> {
    let received = Message::received(delivery);
    let message = store.data_mut().ctx().table.push(received)?;
    let answer = bound.wasi_messaging_incoming_handler().call_handle(store, message).await?;
    Ok(answer.map_err(|error| retry(reason(error))))
}

fn reason(error: Error) -> String {
    match error {
        Error::Timeout => "timeout".to_owned(),
        Error::Connection(words) => format!("connection: {words}"),
        Error::PermissionDenied(words) => format!("permission denied: {words}"),
        Error::Other(words) => words,
    }
}

impl Message {
    fn received(delivery: &Delivery) -> Self {
        let headers = borrowed_headers(delivery).into_iter();
        Self {
            topic: Some(delivery.message.topic.as_str().to_owned()),
            content_type: delivery.message.content_type.clone(),
            data: delivery.message.data.clone(),
            metadata: Some(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
            bytes_made: 0,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let metadata = self.metadata.as_deref().unwrap_or_default();
        metadata.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl HostState {
    fn message(&mut self, handle: &Resource<Message>) -> wasmtime::Result<&mut Message> {
        Ok(self.ctx().table.get_mut(handle)?)
    }

    /// Count what a guest lets the host keep; there is no error for it in this world but the end of the attempt.
    fn hold(&mut self, bytes: usize) -> wasmtime::Result<u64> {
        let bytes_max = self.context.limits.published_bytes_max;
        self.held.bytes = self.held.bytes.saturating_add(bytes as u64);
        if self.held.bytes > bytes_max {
            return Err(Stop::PublishLimit(format!("{bytes_max} bytes, in messages that it holds")).into());
        }
        Ok(bytes as u64)
    }

    fn let_go(&mut self, message: Resource<Message>) -> wasmtime::Result<Message> {
        let message = self.ctx().table.delete(message)?;
        self.held.bytes = self.held.bytes.saturating_sub(message.bytes_made);
        Ok(message)
    }

    async fn send_to(&mut self, topic: String, message: Resource<Message>) -> wasmtime::Result<Result<(), Error>> {
        let message = self.let_go(message)?;
        let mut headers = message.metadata.unwrap_or_default();
        // A handler may send on what it received. Where a message comes from is the host's to say.
        headers.retain(|(name, _)| !crate::session::is_lineage(name));
        let mut outgoing = outgoing(topic, message.data.into(), headers);
        outgoing.content_type = message.content_type;
        let published = ours::Host::publish(self, outgoing).await?;
        Ok(published.map(drop).map_err(|error| Error::Other(words(error))))
    }
}

impl types::Host for HostState {}

impl types::HostClient for HostState {
    fn connect(&mut self, _: String) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        Ok(Ok(self.ctx().table.push(Client)?))
    }

    fn disconnect(&mut self, _: Resource<Client>) -> wasmtime::Result<Result<(), Error>> {
        Ok(Ok(()))
    }

    fn drop(&mut self, client: Resource<Client>) -> wasmtime::Result<()> {
        self.ctx().table.delete(client)?;
        Ok(())
    }
}

impl types::HostMessage for HostState {
    fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<Message>> {
        let bytes_made = self.hold(data.len())?;
        let message = Message { topic: None, content_type: None, data: data.into(), metadata: None, bytes_made };
        Ok(self.ctx().table.push(message)?)
    }

    fn topic(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<Topic>> {
        Ok(self.message(&message)?.topic.clone())
    }

    fn content_type(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<String>> {
        Ok(self.message(&message)?.content_type.clone())
    }

    fn set_content_type(&mut self, message: Resource<Message>, content_type: String) -> wasmtime::Result<()> {
        let bytes = self.hold(content_type.len())?;
        let message = self.message(&message)?;
        message.content_type = Some(content_type);
        message.bytes_made += bytes;
        Ok(())
    }

    fn data(&mut self, message: Resource<Message>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.message(&message)?.data.to_vec())
    }

    fn set_data(&mut self, message: Resource<Message>, data: Vec<u8>) -> wasmtime::Result<()> {
        let bytes = self.hold(data.len())?;
        let message = self.message(&message)?;
        message.data = data.into();
        message.bytes_made += bytes;
        Ok(())
    }

    fn metadata(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<Metadata>> {
        Ok(self.message(&message)?.metadata.clone())
    }

    fn add_metadata(&mut self, message: Resource<Message>, key: String, value: String) -> wasmtime::Result<()> {
        let bytes = self.hold(bytes_of((&key, &value)))?;
        let message = self.message(&message)?;
        let metadata = message.metadata.get_or_insert_default();
        metadata.retain(|(given, _)| *given != key);
        metadata.push((key, value));
        message.bytes_made += bytes;
        Ok(())
    }

    fn set_metadata(&mut self, message: Resource<Message>, metadata: Metadata) -> wasmtime::Result<()> {
        let bytes = self.hold(metadata.iter().map(|(key, value)| bytes_of((key, value))).sum())?;
        let message = self.message(&message)?;
        message.metadata = Some(metadata);
        message.bytes_made += bytes;
        Ok(())
    }

    fn remove_metadata(&mut self, message: Resource<Message>, key: String) -> wasmtime::Result<()> {
        let metadata = &mut self.message(&message)?.metadata;
        metadata.iter_mut().for_each(|metadata| metadata.retain(|(given, _)| *given != key));
        Ok(())
    }

    fn drop(&mut self, message: Resource<Message>) -> wasmtime::Result<()> {
        self.let_go(message).map(drop)
    }
}

impl producer::Host for HostState {
    async fn send(
        &mut self,
        _: Resource<Client>,
        topic: Topic,
        message: Resource<Message>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.send_to(topic, message).await
    }
}

impl request_reply::Host for HostState {
    fn request(
        &mut self,
        _: Resource<Client>,
        _: Topic,
        _: Resource<Message>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Result<Vec<Resource<Message>>, Error>> {
        if let Some(options) = options {
            self.ctx().table.delete(options)?;
        }
        Ok(Err(Error::Other(NO_REQUESTS.to_owned())))
    }

    /// With nobody to reply to it does nothing, as the interface says.
    async fn reply(
        &mut self,
        reply_to: Resource<Message>,
        message: Resource<Message>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let topic = self.message(&reply_to)?.header(REPLY_TO).map(ToOwned::to_owned);
        match topic {
            Some(topic) => self.send_to(topic, message).await,
            None => {
                self.let_go(message)?;
                Ok(Ok(()))
            }
        }
    }
}

impl request_reply::HostRequestOptions for HostState {
    fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        Ok(self.ctx().table.push(RequestOptions)?)
    }

    fn set_timeout_ms(&mut self, _: Resource<RequestOptions>, _: u32) -> wasmtime::Result<()> {
        Ok(())
    }

    fn set_expected_replies(&mut self, _: Resource<RequestOptions>, _: u32) -> wasmtime::Result<()> {
        Ok(())
    }

    fn drop(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.ctx().table.delete(options)?;
        Ok(())
    }
}

/// What a pair takes of the host's memory, also an empty one.
fn bytes_of((key, value): (&str, &str)) -> usize {
    size_of::<(String, String)>() + key.len() + value.len()
}
