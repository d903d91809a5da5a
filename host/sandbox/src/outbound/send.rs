//! One request on one connection.

use std::{error::Error as _, future::poll_fn, pin::pin, task::Poll, time::Duration};

use http::{Request, Response, Uri, header::HeaderMap};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::http1};
use tokio::io::{AsyncRead, AsyncWrite};
use wasmill_delivery::grants::{Grants, HttpScheme, HttpTarget};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, io::TokioIo};

use super::{
    ANSWER_BUFFER_BYTES_MAX, CONNECT_MS_MAX,
    body::{ReceivedBody, SentBody},
    connect::{Refused, connect},
    tls,
    usage::{Open, Way},
};

/// An answer, and what goes on reading it.
pub(super) type Answer = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Send a request that is allowed.
pub(super) async fn send(
    grants: &Grants,
    target: &HttpTarget,
    request: Request<WasiBody>,
    options: RequestOptions,
    open: Open,
) -> Result<Answer, Refused> {
    open.usage().add(Way::Sent, head_bytes(request.uri().path().len(), request.headers()))?;
    let stream = reach(grants, target, options.connect_timeout).await?;
    let mut connection = http1::Builder::new();
    connection.max_buf_size(ANSWER_BUFFER_BYTES_MAX);
    let (mut sender, connection) = connection.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = for_the_wire(request, &open);
    let answering = within(options.first_byte_timeout, sender.send_request(request));
    let (answer, connection) = drive(answering, connection).await?;
    let answer = received(answer, open, options.between_bytes_timeout)?;
    let going_on = async move {
        match connection {
            Some(connection) => connection.await.map_err(failed),
            None => Ok(()),
        }
    };
    Ok((answer, Box::new(going_on)))
}

/// Look up, connect and agree on TLS, all of it within the guest's patience and the host's own limit.
async fn reach(grants: &Grants, target: &HttpTarget, patience: Option<Duration>) -> Result<Box<dyn Stream>, Refused> {
    let longest = Duration::from_millis(CONNECT_MS_MAX);
    let reaching = async {
        let stream = connect(grants, target).await?;
        match target.scheme {
            HttpScheme::Http => Ok(Box::new(stream) as Box<dyn Stream>),
            HttpScheme::Https => match tls::wrap(stream, &target.host).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Stream>),
                Err(error) => {
                    let why = Some(format!("no TLS with {target}: {error}"));
                    let error =
                        if tls::is_certificate(&error) { Error::TlsCertificateError } else { Error::TlsProtocolError };
                    Err(Refused { error, why })
                }
            },
        }
    };
    match tokio::time::timeout(patience.unwrap_or(longest).min(longest), reaching).await {
        Ok(reached) => reached,
        Err(_) => Err(Error::ConnectionTimeout.into()),
    }
}

/// A request to a server, not to a proxy, names no host in its first line. The header `host` does, and was made
/// from the same authority that was checked.
pub(super) fn for_the_wire(request: Request<WasiBody>, open: &Open) -> Request<SentBody> {
    let usage = std::sync::Arc::clone(open.usage());
    let mut request = request.map(|body| SentBody::new(body, usage));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = Uri::builder().path_and_query(path).build().unwrap_or_default();
    *request.uri_mut() = path;
    request
}

async fn within<T>(patience: Option<Duration>, answering: impl Future<Output = hyper::Result<T>>) -> Result<T, Error> {
    match patience {
        None => answering.await.map_err(failed),
        Some(patience) => match tokio::time::timeout(patience, answering).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(Error::ConnectionReadTimeout),
        },
    }
}

/// Wait for the answer and do the connection's work meanwhile. Nobody else does it until there is an answer, so that both
/// end together when the guest does.
async fn drive<T, C: Future<Output = hyper::Result<()>> + Unpin>(
    answering: impl Future<Output = Result<T, Error>>,
    connection: C,
) -> Result<(T, Option<C>), Error> {
    let mut answering = pin!(answering);
    let mut connection = Some(connection);
    let answer = poll_fn(|context| {
        if let Poll::Ready(answer) = answering.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        let Some(working) = connection.as_mut() else { return Poll::Pending };
        match std::pin::Pin::new(working).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => {
                connection = None;
                match ended {
                    Ok(()) => answering.as_mut().poll(context),
                    Err(error) => Poll::Ready(Err(failed(error))),
                }
            }
        }
    });
    let answer = answer.await?;
    Ok((answer, connection))
}

fn received(
    answer: Response<Incoming>,
    open: Open,
    between_parts: Option<Duration>,
) -> Result<Response<WasiBody>, Error> {
    let usage = open.usage();
    usage.add(Way::Received, head_bytes(0, answer.headers()))?;
    // What says that it is too large is not begun.
    usage.check(Way::Received, answer.body().size_hint().lower())?;
    Ok(answer.map(|body| ReceivedBody::new(body, open, between_parts).boxed_unsync()))
}

pub(super) fn head_bytes(path_bytes: usize, headers: &HeaderMap) -> u64 {
    let headers: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (path_bytes + headers) as u64
}

/// What a guest is told of a connection that failed. An error of our own, such as a limit of the body, travels inside of
/// hyper's.
fn failed(error: hyper::Error) -> Error {
    let own = error.source().and_then(|cause| cause.downcast_ref::<Error>());
    if let Some(Error::HttpRequestBodySize(max)) = own {
        return Error::HttpRequestBodySize(*max);
    }
    if error.is_timeout() {
        return Error::HttpResponseTimeout;
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Error::ConnectionTerminated;
    }
    if error.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(u32::try_from(ANSWER_BUFFER_BYTES_MAX).ok());
    }
    Error::Hyper(error)
}
