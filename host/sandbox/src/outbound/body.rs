//! Bodies that are counted as they pass.

use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error, WasiBody};

use super::usage::{Open, Usage, Way};

/// The body of a request.
pub(super) struct SentBody {
    inner: WasiBody,
    usage: Arc<Usage>,
}

impl SentBody {
    pub(super) const fn new(inner: WasiBody, usage: Arc<Usage>) -> Self {
        Self { inner, usage }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        frame.map(|frame| frame.map(|frame| counted(&self.usage, Way::Sent, frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer. Its request is open for as long as this is there.
pub(super) struct ReceivedBody {
    inner: Incoming,
    open: Open,
    patience: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl ReceivedBody {
    /// With how long it waits for the next part of it, when the guest said so.
    pub(super) fn new(inner: Incoming, open: Open, between_parts: Option<Duration>) -> Self {
        let patience = between_parts.map(|patience| (patience, Box::pin(tokio::time::sleep(patience))));
        Self { inner, open, patience }
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            if let Some((patience, sleep)) = &mut this.patience {
                sleep.as_mut().reset(Instant::now() + *patience);
            }
            return Poll::Ready(
                frame.map(|frame| counted(this.open.usage(), Way::Received, frame.map_err(Error::from))),
            );
        }
        match &mut this.patience {
            Some((_, sleep)) => sleep.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout))),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn counted(usage: &Usage, way: Way, frame: Result<Frame<Bytes>, Error>) -> Result<Frame<Bytes>, Error> {
    let frame = frame?;
    let bytes = match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => data.len(),
        (None, Some(trailers)) => trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        (None, None) => 0,
    };
    usage.add(way, bytes as u64)?;
    Ok(frame)
}
