//! Where answers wait for the client.
//!
//! Many clients send their whole body before they read the answer. If answers had no place to wait, such a client and
//! this server would wait for each other for ever; if they had no limit, a client could fill the memory.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Nobody reads any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Takes answers, and waits when too many bytes of them wait already.
pub(super) struct Outlet {
    answers: mpsc::UnboundedSender<(Bytes, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    bytes_max: u32,
}

/// Gives answers to the client.
pub(super) struct Answers {
    answers: mpsc::UnboundedReceiver<(Bytes, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// A way for answers with room for `bytes_max` bytes.
pub(super) fn open(bytes_max: u32) -> (Outlet, Answers) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(bytes_max as usize));
    (Outlet { answers: sender, room: Arc::clone(&room), bytes_max }, Answers { answers: receiver, room })
}

impl Outlet {
    /// Leave answers for the client, when there is room. An answer that is larger than all the room takes all of it.
    pub(super) async fn send(&self, answers: Bytes) -> Result<(), Gone> {
        let bytes = u32::try_from(answers.len()).unwrap_or(u32::MAX).min(self.bytes_max);
        let permit = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| Gone)?;
        self.answers.send((answers, permit)).map_err(|_| Gone)
    }

    /// Come back when nobody reads any more.
    pub(super) async fn gone(&self) {
        self.answers.closed().await;
    }
}

impl Stream for Answers {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Handing the answers on gives their room free.
        self.answers.poll_recv(context).map(|item| item.map(|(answers, _room)| Ok(answers)))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    #[tokio::test]
    async fn answers_wait_for_room_and_end_with_their_reader() {
        let (outlet, mut answers) = open(10);
        outlet.send(Bytes::from_static(b"12345678")).await.expect("room");
        let mut second = Box::pin(outlet.send(Bytes::from_static(b"abc")));
        assert!(second.as_mut().now_or_never().is_none(), "there is no room for it");
        assert_eq!(answers.next().await.expect("one").expect("bytes"), "12345678");
        second.await.expect("room again");
        outlet.send(Bytes::new()).await.expect("nothing needs no room");
        let mut large = Box::pin(outlet.send(Bytes::from(vec![0; 1_000])));
        assert!(large.as_mut().now_or_never().is_none());
        drop(answers);
        large.await.expect_err("nobody reads");
        outlet.gone().await;
    }
}
