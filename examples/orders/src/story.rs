//! What happens, step by step, told as it is found.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::{Context, Result, ensure};
use host_process::Client;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Story<'a> {
    client: &'a Client,
    text: String,
}

impl<'a> Story<'a> {
    pub(crate) const fn new(client: &'a Client) -> Self {
        Self { client, text: String::new() }
    }

    pub(crate) fn tell(mut self, orders: &str) -> Result<String> {
        self.place(orders)?;
        self.show_outcome("settled")?;
        let given_up = self.show_quarantine()?;
        self.correct_and_redrive(&given_up)?;
        self.show_outcome("after the redrive")?;
        ensure!(self.quarantined()?.is_empty(), "something is in quarantine again");
        self.say("quarantine: empty");
        Ok(self.text)
    }

    fn say(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn place(&mut self, orders: &str) -> Result<()> {
        let path = "/v1/topics/order.placed/messages?raw=true&id-pointer=/order_id";
        let answers = self.client.publish_lines(path, orders)?;
        ensure!(answers.iter().all(|answer| answer["error"].is_null()), "an order was refused: {answers:?}");
        let places = answers.first().and_then(|answer| answer["places"].as_array()).map_or(0, Vec::len);
        self.say(&format!("placed: {} orders, each to {places} queues", answers.len()));
        Ok(())
    }

    fn show_outcome(&mut self, when: &str) -> Result<()> {
        self.client.wait_until_settled(PATIENCE)?;
        let answer = self.client.get("/v1/queues/outcome/messages?limit=1000")?;
        let messages = answer["messages"].as_array().context("no messages")?;
        let mut topics = BTreeMap::<&str, u64>::new();
        for message in messages {
            *topics.entry(message["topic"].as_str().context("no topic")?).or_default() += 1;
        }
        let captured = messages.iter().filter_map(|message| message["data"]["amount_cents"].as_i64()).sum::<i64>();
        self.say(&format!("{when}:"));
        for (topic, count) in topics {
            self.say(&format!("  {count:>3} {topic}"));
        }
        self.say(&format!("  {captured} cents captured"));
        let orders = self.client.get_text("/v1/handlers/analytics/state/orders")?;
        self.say(&format!("  {orders} orders counted by analytics"));
        Ok(())
    }

    fn quarantined(&self) -> Result<Vec<Value>> {
        let answer = self.client.get("/v1/quarantine?limit=100")?;
        let mut list = answer["quarantined"].as_array().context("no list")?.clone();
        list.sort_by_key(|record| record["handler"].as_str().map(str::to_owned));
        Ok(list)
    }

    fn show_quarantine(&mut self) -> Result<Vec<Value>> {
        let list = self.quarantined()?;
        self.say(&format!("quarantine: {}", list.len()));
        let mut shown = Vec::new();
        for record in list {
            let id = record["id"].as_u64().context("no id")?;
            let full = self.client.get(&format!("/v1/quarantine/{id}"))?;
            let attempts = full["attempts"].as_array().context("no attempts")?;
            let last = attempts.last().context("no attempt")?;
            let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
            let (handler, message) = (text(&full["handler"]), text(&full["message"]["id"]));
            self.say(&format!("  {message} by {handler}, {} after {} attempts", text(&full["reason"]), attempts.len()));
            self.say(&format!("    {}", text(&last["detail"])));
            for line in text(&last["log"]).lines().filter(|line| line.contains("comes to")) {
                self.say(&format!("    it printed: {line}"));
            }
            shown.push(full);
        }
        Ok(shown)
    }

    fn correct_and_redrive(&mut self, given_up: &[Value]) -> Result<()> {
        for record in given_up {
            let mut order = record["message"]["data"].clone();
            order["items"] = json!([{ "sku": "mug", "quantity": 2, "price_cents": 1250 }]);
            let path = format!("/v1/quarantine/{}/redrive", record["id"]);
            self.client.post(&path, "application/json", order.to_string())?;
        }
        self.say(&format!("corrected and redriven: {}", given_up.len()));
        Ok(())
    }
}
