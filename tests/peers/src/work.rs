//! What a message is, and what is done with it. The native consumers of the peers and Wasmill's component compile this
//! very file.

use serde::{Deserialize, Serialize};

/// Data of one message.
#[derive(Deserialize, Serialize)]
pub struct Order<'a> {
    /// Its number, always nine digits, so that whoever only counts finds it without parsing.
    pub n: &'a str,
    pub kind: &'a str,
    pub amount: f64,
    /// Fills it up to the size that was asked for.
    pub text: &'a str,
}

/// What is published for it.
#[derive(Deserialize, Serialize)]
pub struct Receipt<'a> {
    pub n: &'a str,
    pub kind: &'a str,
    pub double: f64,
    pub text_length: usize,
}

/// Parse a message, and make the one that is published for it.
pub fn forward(data: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let Order { n, kind, amount, text } = serde_json::from_slice(data)?;
    serde_json::to_vec(&Receipt { n, kind, double: amount * 2.0, text_length: text.len() })
}
