//! Publish to a Wasmill host, and take deliveries from it, over one stream.
//!
//! ```no_run
//! use wasmill_client::{Client, Outgoing};
//!
//! # async fn example() -> Result<(), wasmill_client::Error> {
//! let client = Client::connect("http://127.0.0.1:7500").await?;
//! client.publish(Outgoing::new("orders.created", r#"{"order": 7}"#).key("customer-3")).await?;
//!
//! let mut orders = client.subscribe("orders", "billing", 1_000).await?;
//! while let Some(deliveries) = orders.next().await {
//!     for delivery in &deliveries {
//!         println!("{} bytes on {}", delivery.data.len(), delivery.topic);
//!     }
//!     orders.ack(&deliveries).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is cheap to clone, and all clones share one connection. Many calls may wait at once: messages that are published
//! while the connection is busy leave together, in the order in which the calls were made. An answer means that the message is
//! durable, or that the delivery is settled durably.
//!
//! When the connection breaks, or nothing is heard of the host for 60 s (it pings every 20 s), every call answers
//! [`Error::Disconnected`] and no subscription delivers any more. Whether what was under way was carried out is not known then:
//! connect again and publish again, with the same ids ([`Outgoing::id`]), which the host does not take twice.

mod client;
mod driver;
mod error;
mod message;
mod pending;
mod subscription;

pub use wasmill_wire::{Delivery, Failure, Refusal};

pub use self::{
    client::Client,
    error::Error,
    message::{Outgoing, Published},
    subscription::Subscription,
};
