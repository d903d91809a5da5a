//! Wasmill by its streaming client: each producer has a connection of its own, with two frames under way, each of half of what may
//! be in flight.

use std::{ops::Range, path::Path};

use anyhow::Result;
use async_trait::async_trait;
use futures::{TryStreamExt as _, stream};
use wasmill_client::{Client, Outgoing};

use super::{
    Handlers, OneByOne, Place,
    wasmill::Host,
    wasmill_system::{self, Door, Wasmill},
};
use crate::case::{Case, Messages};

pub(super) struct Stream;

pub(super) async fn start(place: &Place, folder: &Path, handlers: &Handlers) -> Result<Wasmill<Stream>> {
    wasmill_system::start::<Stream>(place, folder, handlers).await
}

fn message(messages: &Messages, number: u64) -> Outgoing {
    Outgoing::new("work", messages.make(number)).content_type("application/json")
}

#[async_trait]
impl Door for Stream {
    async fn produce(host: &Host, case: &Case, share: Range<u64>) -> Result<()> {
        let messages = Messages::new(case.data_bytes)?;
        let client = Client::connect(&host.url).await?;
        let batch = usize::try_from(case.batch())?;
        let begins = stream::iter(share.clone().step_by(batch).map(Ok));
        let publish = async |begin: u64| {
            let numbers = begin..(begin + case.batch()).min(share.end);
            let answers = client.publish_all(numbers.map(|number| message(&messages, number)).collect()).await;
            answers.into_iter().try_for_each(|answer| answer.map(drop))
        };
        begins.try_for_each_concurrent(case.batches(), publish).await?;
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
