//! Reading bodies with a limit.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use super::{problem::Problem, rooms::NotRead};

/// What is read and thrown away of a body that was refused, in bytes.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long it is read and thrown away.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// A body of one frame is copied up to this size, because it keeps alive the whole buffer it was read into.
const COPY_BYTES_MAX: usize = 64 * 1024;

/// All of a body.
pub(super) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut frames = accept(body, bytes_max)?;
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = frames.next().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                // Whoever is refused may still be sending.
                drain(frames);
                return Err(broken(&error));
            }
        };
        if whole.len() + joined.len() + frame.len() > bytes_max {
            drain(frames);
            return Err(too_large(bytes_max));
        }
        if whole.is_empty() && joined.is_empty() {
            whole = frame;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&frame);
        }
    }
    Ok(if joined.is_empty() { own(whole) } else { joined.freeze() })
}

/// The frames of a body that does not say beforehand that it is too large.
pub(super) fn accept(body: Body, bytes_max: usize) -> Result<BodyDataStream, Problem> {
    let said = body.size_hint().lower();
    let frames = body.into_data_stream();
    if said > bytes_max as u64 {
        drain(frames);
        return Err(too_large(bytes_max));
    }
    Ok(frames)
}

/// Throw the rest of a refused body away, aside and within limits: a client that still sends when the connection is
/// closed may lose the answer that says why (RFC 9112 section 9.6).
pub(super) fn drain(mut frames: BodyDataStream) {
    let reading = async move {
        let mut bytes = 0;
        while let Some(Ok(frame)) = frames.next().await {
            bytes += frame.len();
            if bytes > DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    tokio::spawn(tokio::time::timeout(DRAIN_TIME_MAX, reading));
}

/// The problem of a body beyond its limit.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    Problem::too_large(format!("the body is larger than the {bytes_max} bytes that are accepted here"))
}

/// The problem of a body that ended early.
pub(super) fn broken(error: &axum::Error) -> Problem {
    if let Some(not_read) = not_read(error) {
        return not_read.into();
    }
    Problem::malformed("broken-body", format!("the body could not be read to its end: {error}"))
}

fn not_read(error: &axum::Error) -> Option<NotRead> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(not_read) = error.downcast_ref() {
            return Some(*not_read);
        }
        source = error.source();
    }
    None
}

fn own(frame: Bytes) -> Bytes {
    if frame.len() <= COPY_BYTES_MAX { Bytes::copy_from_slice(&frame) } else { frame }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(frames: &'static [&'static str]) -> Body {
        Body::from_stream(futures::stream::iter(frames.iter().map(|frame| Ok::<_, std::io::Error>(*frame))))
    }

    #[tokio::test]
    async fn frames_are_joined_up_to_the_limit() {
        let joined = read(body_of(&["ab", "", "cd", "e"]), 5).await.expect("it fits");
        assert_eq!(joined, "abcde");
        assert_eq!(read(body_of(&[]), 0).await.expect("it fits"), "");
        for body in [body_of(&["abc", "def"]), Body::from("abcdef")] {
            assert_eq!(read(body, 5).await.expect_err("too large").code, "too-large");
        }
    }
}
