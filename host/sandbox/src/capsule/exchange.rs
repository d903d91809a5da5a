//! A request and its answer, as they are taken down and played back.

use std::{
    any::Any,
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{Tape, fault::Fault, mask::Mask};

/// One request that was allowed. Its headers and body are not kept: they are where secrets go, and nobody needs them to
/// answer it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) url: Url,
    /// None when the attempt ended before there was one.
    pub(crate) answer: Option<Answer>,
}

/// Where a request goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Url(pub(crate) String);

/// One that stands there decoded, because there was a secret in it, is the same.
impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || percent_decode_str(&self.0).eq(percent_decode_str(&other.0))
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// No answer, and what the guest's log was told.
    Failed { fault: Fault, why: Option<String> },
    /// The head, and as much of the body as the guest came to.
    Received { status: u16, headers: Headers, parts: Vec<Part> },
}

pub(crate) type Headers = Vec<(String, Bytes)>;

/// A part of a body, as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    Data(Bytes),
    Trailers(Headers),
    Failed(Fault),
    End,
}

impl Exchange {
    pub(crate) fn begun(request: &Request<WasiBody>) -> Self {
        let (method, url) = (request.method().to_string(), Url(request.uri().to_string()));
        Self { method, url, answer: None }
    }

    pub(super) fn bytes(&self) -> usize {
        self.method.len() + self.url.0.len()
    }

    pub(super) fn mask(&mut self, mask: &Mask) {
        mask.url(&mut self.url.0);
        match &mut self.answer {
            None => {}
            Some(Answer::Failed { fault, why }) => {
                if let Some(text) = fault.text_mut() {
                    mask.text(text);
                }
                if let Some(why) = why {
                    mask.text(why);
                }
            }
            Some(Answer::Received { headers, parts, .. }) => {
                headers.iter_mut().for_each(|(_, value)| mask.bytes(value));
                mask_body(mask, parts);
            }
        }
    }
}

/// A secret may lie across parts, so they are looked at as one.
fn mask_body(mask: &Mask, parts: &mut [Part]) {
    let mut whole: Vec<u8> = Vec::new();
    for part in parts.iter() {
        if let Part::Data(data) = part {
            whole.extend_from_slice(data);
        }
    }
    let found = mask.in_place(&mut whole);
    let mut whole = Bytes::from(whole);
    for part in parts {
        match part {
            Part::Data(data) if found => *data = whole.split_to(data.len()),
            Part::Trailers(trailers) => trailers.iter_mut().for_each(|(_, value)| mask.bytes(value)),
            Part::Failed(fault) => {
                if let Some(text) = fault.text_mut() {
                    mask.text(text);
                }
            }
            Part::Data(_) | Part::End => {}
        }
    }
}

fn kept(headers: &HeaderMap) -> Headers {
    headers.iter().map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

fn given(headers: &Headers) -> HeaderMap {
    let headers = headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        // A file that somebody made up may have more than there can be.
        if map.try_append(name, value).is_err() {
            break;
        }
    }
    map
}

fn bytes_of(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum()
}

/// Take down that there is no answer.
pub(crate) fn note_failed(tape: &Tape, number: Option<usize>, error: &Error, why: Option<&str>) {
    let fault = Fault::from(error);
    let bytes = fault.bytes() + why.map_or(0, str::len);
    let why = why.map(ToOwned::to_owned);
    tape.exchange(number, bytes, |exchange| exchange.answer = Some(Answer::Failed { fault, why }));
}

/// Take down the head of an answer, and its body as it is read.
pub(crate) fn note_received(tape: &Tape, number: Option<usize>, answer: Response<WasiBody>) -> Response<RecordedBody> {
    let headers = kept(answer.headers());
    let status = answer.status().as_u16();
    tape.exchange(number, bytes_of(&headers), |exchange| {
        exchange.answer = Some(Answer::Received { status, headers, parts: Vec::new() });
    });
    answer.map(|inner| RecordedBody { inner, tape: tape.clone(), number })
}

/// The body of an answer that is taken down.
pub(crate) struct RecordedBody {
    inner: WasiBody,
    tape: Tape,
    number: Option<usize>,
}

impl RecordedBody {
    fn note(&self, bytes: usize, part: impl FnOnce() -> Part) {
        self.tape.exchange(self.number, bytes, |exchange| {
            if let Some(Answer::Received { parts, .. }) = &mut exchange.answer {
                parts.push(part());
            }
        });
    }
}

impl Body for RecordedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else { return Poll::Pending };
        match &frame {
            None => self.note(0, || Part::End),
            Some(Err(error)) => {
                let fault = Fault::from(error);
                let bytes = fault.bytes();
                self.note(bytes, || Part::Failed(fault));
            }
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                // A copy: what arrived may be a small part of a large buffer.
                (Some(data), _) => self.note(data.len(), || Part::Data(Bytes::copy_from_slice(data))),
                (None, Some(trailers)) => {
                    let trailers = kept(trailers);
                    let bytes = bytes_of(&trailers);
                    self.note(bytes, || Part::Trailers(trailers));
                }
                (None, None) => {}
            },
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What comes after the last part that was taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The guest waited for it until its time was over.
    Never,
    /// Nobody knows.
    Unknown,
}

/// The body of an answer that is played back.
pub(crate) struct PlayedBody {
    parts: VecDeque<Part>,
    rest: Rest,
    _held: Option<Box<dyn Any + Send>>,
}

impl PlayedBody {
    /// Keep this for as long as the body is there.
    pub(crate) fn holding(self, held: impl Any + Send) -> Self {
        Self { _held: Some(Box::new(held)), ..self }
    }
}

/// An answer that is played back: its head, with its body.
pub(crate) fn played(status: u16, headers: &Headers, parts: Vec<Part>, rest: Rest) -> Response<PlayedBody> {
    let mut response = Response::new(PlayedBody { parts: parts.into(), rest, _held: None });
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    *response.headers_mut() = given(headers);
    response
}

impl Body for PlayedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match self.parts.pop_front() {
            Some(Part::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Part::Trailers(trailers)) => Some(Ok(Frame::trailers(given(&trailers)))),
            Some(Part::Failed(fault)) => Some(Err(Error::from(&fault))),
            Some(Part::End) => {
                self.parts.push_front(Part::End);
                None
            }
            None if self.rest == Rest::Never => return Poll::Pending,
            None => Some(Err(Error::InternalError(Some(
                "the capsule has no more of this answer: the attempt did not read further, or it did not fit"
                    .to_owned(),
            )))),
        };
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secrets;

    #[test]
    fn a_secret_across_two_parts_of_an_answer_is_found() {
        let secrets = Secrets::new([("KEY".to_owned(), "sk-12345".to_owned())].into());
        let data = |text: &'static str| Part::Data(Bytes::from_static(text.as_bytes()));
        let mut parts = [data("you said sk-1"), data("2345!"), Part::End];
        mask_body(&Mask::new(&secrets), &mut parts);
        let masked: Vec<u8> = parts
            .iter()
            .flat_map(|part| if let Part::Data(data) = part { data.to_vec() } else { Vec::new() })
            .collect();
        let masked = String::from_utf8(masked).expect("text");
        assert_eq!(masked, format!("you said {}!", super::super::mask::stand_in("KEY", 8)));
        assert!(matches!(&parts[0], Part::Data(data) if data.len() == 13), "parts stay as long as they were");
    }
}
