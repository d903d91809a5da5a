//! What a guest's request meets first.

use std::{future::ready, sync::Arc};

use http::{Method, Request, uri::Scheme};
use wasmill_delivery::{
    grants::{Grants, HttpScheme, HttpTarget},
    record::HandlerLimits,
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, p2::bindings::http::types::ErrorCode};

use super::{
    BODY_WRITE_BYTES_MAX, replay,
    send::{Answer, send},
    simulated,
    usage::{Open, Usage},
};
use crate::{
    attempt::HandlerContext,
    capsule::{Exchange, Tape, note_failed, note_received},
    guest_log::GuestLog,
};

pub(super) type Answering = Box<dyn Future<Output = Result<Answer, Error>> + Send>;
type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The requests of one instance.
pub(crate) struct Hooks {
    grants: Arc<Grants>,
    limits: HandlerLimits,
    log: GuestLog,
    usage: Arc<Usage>,
    tape: Tape,
}

impl Hooks {
    pub(crate) fn new(context: &HandlerContext, log: GuestLog, tape: Tape) -> Self {
        let limits = context.limits;
        Self { grants: Arc::clone(&context.grants), limits, log, usage: Usage::new(limits), tape }
    }

    /// The next attempt has all its limits before it.
    pub(crate) fn begin_attempt(&mut self) {
        self.usage = Usage::new(self.limits);
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.usage.is_idle()
    }

    fn admit(&self, request: &Request<WasiBody>) -> Result<(HttpTarget, Open), Error> {
        let open = self.usage.begin().map_err(|(error, why)| {
            self.log.note(&why);
            error
        })?;
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let target = target(request).ok_or(Error::HttpRequestUriInvalid)?;
        let grants_known = self.tape.player().is_none_or(|player| player.knows_grants());
        if grants_known && !self.grants.allow(&target) {
            self.log
                .note(&format!("{target} is not granted; an operator can name it under grants.http of this handler"));
            return Err(Error::HttpRequestDenied);
        }
        Ok((target, open))
    }
}

fn target(request: &Request<WasiBody>) -> Option<HttpTarget> {
    let uri = request.uri();
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let scheme = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => HttpScheme::Http,
        Some(scheme) if *scheme == Scheme::HTTPS => HttpScheme::Https,
        Some(_) | None => return None,
    };
    // A port that is no number would pass for none at all.
    let port = authority.port();
    let has_port = authority.as_str().len() > authority.host().len();
    if has_port && port.is_none() {
        return None;
    }
    HttpTarget::new(scheme, authority.host(), port.map(|port| port.as_u16())).ok()
}

impl WasiHttpHooks for Hooks {
    fn send_request(&mut self, request: Request<WasiBody>, options: Option<RequestOptions>, _: Rest) -> Answering {
        let (target, open) = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(error) => return Box::new(ready(Err(error))),
        };
        if let Some(player) = self.tape.player() {
            return replay::answer(player, &self.log, request, open);
        }
        let (grants, log, tape) = (Arc::clone(&self.grants), self.log.clone(), self.tape.clone());
        let number = tape.begin_exchange(|| Exchange::begun(&request));
        Box::new(async move {
            let options = options.unwrap_or_default();
            let sent = match tape.simulation() {
                None => Box::pin(send(&grants, &target, request, options, open)).await,
                Some(simulation) => Box::pin(simulated::send(simulation, request, &options, open)).await,
            };
            match sent {
                Ok((answer, rest)) => {
                    Ok((note_received(&tape, number, answer).map(http_body_util::BodyExt::boxed_unsync), rest))
                }
                Err(refused) => {
                    note_failed(&tape, number, &refused.error, refused.why.as_deref());
                    if let Some(why) = refused.why {
                        log.note(&why);
                    }
                    Err(refused.error)
                }
            }
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_WRITE_BYTES_MAX
    }

    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> ErrorCode {
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::DestinationUnavailable
    }

    fn p2_error_from_tls(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::TlsProtocolError
    }
}
