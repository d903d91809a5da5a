//! Wasmill by its streaming client: each producer has a connection of its own and as many publishes unanswered as the case says;
//! the client sends together what comes together.

use std::{ops::Range, path::Path};

use anyhow::Result;
use async_trait::async_trait;
use futures::{TryStreamExt as _, stream};
use wasmill_client::{Client, Outgoing};

use super::{
    OneByOne, Place,
    wasmill::Host,
    wasmill_system::{self, Door, Wasmill},
};
use crate::case::{Case, Messages};

/// Whether it is measured.
pub const IS_THERE: bool = true;

pub(super) struct Stream;

pub(super) async fn start(place: &Place, folder: &Path) -> Result<Wasmill<Stream>> {
    wasmill_system::start::<Stream>(place, folder).await
}

fn message(messages: &Messages, number: u64) -> Outgoing {
    Outgoing::new("work", messages.make(number)).content_type("application/json")
}

#[async_trait]
impl Door for Stream {
    async fn produce(host: &Host, case: &Case, share: Range<u64>) -> Result<()> {
        let messages = Messages::new(case.data_bytes)?;
        let client = Client::connect(&host.url).await?;
        let publishing = stream::iter(share.map(|number| Ok(client.publish(message(&messages, number)))));
        publishing.try_for_each_concurrent(case.in_flight as usize, |answer| async { answer.await.map(|_| ()) }).await?;
        client.close().await;
        Ok(())
    }

    async fn one_by_one(host: &Host, case: &Case) -> Result<Box<dyn OneByOne>> {
        let messages = Messages::new(case.data_bytes)?;
        Ok(Box::new(One { client: Client::connect(&host.url).await?, messages }))
    }
}

struct One {
    client: Client,
    messages: Messages,
}

#[async_trait]
impl OneByOne for One {
    async fn publish(&mut self, number: u64) -> Result<()> {
        self.client.publish(message(&self.messages, number)).await?;
        Ok(())
    }
}
