//! Answers that a test planned. Nothing is connected to; everything else is as it is in production.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::{
    CONNECT_MS_MAX,
    connect::Refused,
    send::{Answer, for_the_wire, head_bytes},
    usage::{Open, Way},
};
use crate::{
    capsule::{Part, Rest, played},
    simulation::{PlannedAnswer, ReceivedAnswer, SentRequest, SimulatedFailure, Simulation},
};

/// Send a request that is allowed.
pub(super) async fn send(
    simulation: &Simulation,
    request: Request<WasiBody>,
    options: &RequestOptions,
    open: Open,
) -> Result<Answer, Refused> {
    open.usage().add(Way::Sent, head_bytes(request.uri().path().len(), request.headers()))?;
    let (method, url) = (request.method().to_string(), request.uri().to_string());
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = for_the_wire(request, &open).into_body().collect().await?.to_bytes();
    let PlannedAnswer { after, result } = simulation.http().answer(SentRequest { method, url, headers, body });
    let answering = async {
        tokio::time::sleep(after).await;
        match result {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(fail(failure, options).await),
        }
    };
    let answer = match options.first_byte_timeout {
        None => answering.await?,
        Some(patience) => {
            tokio::time::timeout(patience, answering).await.map_err(|_| Error::ConnectionReadTimeout)??
        }
    };
    Ok((received(answer, open)?, Box::new(std::future::ready(Ok(())))))
}

async fn fail(failure: SimulatedFailure, options: &RequestOptions) -> Error {
    match failure {
        SimulatedFailure::ConnectionRefused => Error::ConnectionRefused,
        SimulatedFailure::ConnectionReset => Error::ConnectionTerminated,
        SimulatedFailure::Dns => Error::DnsError { rcode: Some("NXDOMAIN".to_owned()), info_code: None },
        SimulatedFailure::TlsCertificate => Error::TlsCertificateError,
        SimulatedFailure::Unplanned(problem) => Error::InternalError(Some(problem)),
        SimulatedFailure::NoAnswer => std::future::pending().await,
        SimulatedFailure::ConnectionTimeout => {
            let longest = Duration::from_millis(CONNECT_MS_MAX);
            tokio::time::sleep(options.connect_timeout.unwrap_or(longest).min(longest)).await;
            Error::ConnectionTimeout
        }
    }
}

fn received(answer: ReceivedAnswer, open: Open) -> Result<http::Response<WasiBody>, Refused> {
    let ReceivedAnswer { status, headers, body } = answer;
    let headers: Vec<(String, Bytes)> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    let head: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    open.usage().add(Way::Received, (head + body.len()) as u64)?;
    let parts = if body.is_empty() { vec![Part::End] } else { vec![Part::Data(body), Part::End] };
    Ok(played(status, &headers, parts, Rest::Unknown).map(|body| body.holding(open).boxed_unsync()))
}
