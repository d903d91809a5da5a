//! What one attempt has used of its limits.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use wasmill_delivery::record::HandlerLimits;
use wasmtime_wasi_http::Error;

/// Counts for one attempt. The tasks of its requests share it, and what is late of an earlier attempt counts there.
#[derive(Debug)]
pub(crate) struct Usage {
    requests: AtomicU32,
    open: AtomicU32,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    limits: HandlerLimits,
}

/// A request that is not finished.
#[derive(Debug)]
pub(crate) struct Open(Arc<Usage>);

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Sent,
    Received,
}

impl Usage {
    pub(crate) fn new(limits: HandlerLimits) -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicU32::new(0),
            open: AtomicU32::new(0),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            limits,
        })
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Count a request, refused ones too.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Open, (Error, String)> {
        let max = self.limits.http_requests_max;
        if self.requests.fetch_add(1, Ordering::Relaxed) >= max {
            self.requests.store(max, Ordering::Relaxed);
            let why = format!("one attempt sends at most {max} requests (http-requests-max)");
            return Err((Error::InternalError(Some(why.clone())), why));
        }
        let max = self.limits.http_open_max;
        let open = Open(Arc::clone(self));
        if self.open.fetch_add(1, Ordering::AcqRel) >= max {
            return Err((
                Error::ConnectionLimitReached,
                format!("at most {max} requests are open at once (http-open-max)"),
            ));
        }
        Ok(open)
    }

    /// Count bytes, or say that they are too many.
    pub(crate) fn add(&self, way: Way, bytes: u64) -> Result<(), Error> {
        let (counter, max) = match way {
            Way::Sent => (&self.sent_bytes, self.limits.http_sent_bytes_max),
            Way::Received => (&self.received_bytes, self.limits.http_received_bytes_max),
        };
        let before = counter.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= max {
            return Ok(());
        }
        counter.store(max, Ordering::Relaxed);
        Err(Self::too_many(way, max))
    }

    /// Whether so many bytes would be too many.
    pub(crate) fn check(&self, way: Way, bytes: u64) -> Result<(), Error> {
        let (used, max) = match way {
            Way::Sent => (&self.sent_bytes, self.limits.http_sent_bytes_max),
            Way::Received => (&self.received_bytes, self.limits.http_received_bytes_max),
        };
        let fits = used.load(Ordering::Relaxed).saturating_add(bytes) <= max;
        if fits { Ok(()) } else { Err(Self::too_many(way, max)) }
    }

    const fn too_many(way: Way, max: u64) -> Error {
        match way {
            Way::Sent => Error::HttpRequestBodySize(Some(max)),
            Way::Received => Error::HttpResponseBodySize(Some(max)),
        }
    }
}

impl Open {
    pub(crate) const fn usage(&self) -> &Arc<Usage> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> Arc<Usage> {
        Usage::new(HandlerLimits {
            http_requests_max: 4,
            http_open_max: 2,
            http_sent_bytes_max: 10,
            http_received_bytes_max: 20,
            ..HandlerLimits::default()
        })
    }

    #[test]
    fn requests_are_counted_while_open_and_in_all() {
        let usage = usage();
        let one = usage.begin().expect("the first");
        let two = usage.begin().expect("the second");
        let (error, why) = usage.begin().expect_err("the third at once");
        assert!(matches!(error, Error::ConnectionLimitReached) && why.contains("http-open-max"), "{why}");
        drop(one);
        let four = usage.begin().expect("one has ended");
        drop((two, four));
        assert!(usage.is_idle());
        for _ in 0..3 {
            let (_, why) = usage.begin().expect_err("the fifth");
            assert!(why.contains("at most 4 requests (http-requests-max)"), "{why}");
        }
        assert!(usage.is_idle());
    }

    #[test]
    fn bytes_are_counted_each_way() {
        let usage = usage();
        usage.add(Way::Sent, 10).expect("just enough");
        assert!(matches!(usage.add(Way::Sent, 1), Err(Error::HttpRequestBodySize(Some(10)))));
        usage.check(Way::Received, 20).expect("just enough");
        assert!(matches!(usage.check(Way::Received, 21), Err(Error::HttpResponseBodySize(Some(20)))));
        usage.add(Way::Received, 20).expect("checking uses nothing");
        assert!(usage.add(Way::Received, u64::MAX).is_err());
        assert!(usage.add(Way::Received, 1).is_err(), "and does not begin again");
    }
}
