//! Answers that come from a capsule. Nothing is connected to.

use std::{
    future::{pending, ready},
    sync::Arc,
};

use http::Request;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{hooks::Answering, send::for_the_wire, usage::Open};
use crate::{
    capsule::{Answer, PlayedAnswer, Player, played},
    guest_log::GuestLog,
};

/// What came back to this request when it was recorded.
pub(super) fn answer(player: &Arc<Player>, log: &GuestLog, request: Request<WasiBody>, open: Open) -> Answering {
    let (method, url) = (request.method().to_string(), request.uri().to_string());
    match player.answer(&method, &url) {
        PlayedAnswer::Unknown => {
            let problem = format!("the capsule has no answer to {method} {url}");
            Box::new(ready(Err(Error::InternalError(Some(problem)))))
        }
        PlayedAnswer::Never => Box::new(pending()),
        PlayedAnswer::Answered(Answer::Failed { fault, why }, _) => {
            if let Some(why) = why {
                log.note(&why);
            }
            Box::new(ready(Err(Error::from(&fault))))
        }
        PlayedAnswer::Answered(Answer::Received { status, headers, parts }, rest) => {
            // The guest may wait until what it sends is taken away.
            let mut sent = Box::pin(for_the_wire(request, &open).into_body());
            // Its request is open for as long as its answer is there.
            let answer = played(status, &headers, parts, rest).map(|body| body.holding(open).boxed_unsync());
            let taking = async move {
                while let Some(frame) = sent.frame().await {
                    frame?;
                }
                Ok(())
            };
            Box::new(ready(Ok((answer, Box::new(taking) as _))))
        }
    }
}
