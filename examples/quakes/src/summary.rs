//! What became of the records, read from the host. Everything but the speed must be the same in every run.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use host_process::Client;
use serde::Serialize;
use serde_json::Value;

/// See the module.
#[derive(Serialize)]
pub(crate) struct Summary {
    published: usize,
    /// Deliveries that each handler settled.
    handled: BTreeMap<String, u64>,
    /// Deliveries that `validate` settled after a retry.
    retried: u64,
    quarantined: Vec<Quarantined>,
    alerts: usize,
    strongest_alert: Value,
    regions: BTreeMap<String, Region>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_second: Option<u64>,
}

#[derive(Serialize)]
struct Quarantined {
    id: String,
    handler: String,
    why: String,
}

#[derive(Serialize)]
struct Region {
    count: u64,
    strongest: f64,
}

impl Summary {
    pub(crate) fn gather(client: &Client, published: usize, took: Duration) -> Result<Self> {
        let quarantined = quarantined(client)?;
        let alerts = alerts(client)?;
        let magnitude = |alert: &Value| alert["magnitude"].as_f64().unwrap_or_default();
        let strongest = alerts.iter().max_by(|a, b| magnitude(a).total_cmp(&magnitude(b)));
        Ok(Self {
            published,
            handled: handled(client, &quarantined)?,
            retried: integer(client, "validate", "validated-after-retry")?,
            alerts: alerts.len(),
            strongest_alert: strongest.cloned().unwrap_or_default(),
            regions: regions(client)?,
            quarantined,
            messages_per_second: Some(published as u64 * 1_000 / u64::try_from(took.as_millis())?.max(1)),
        })
    }

    /// Compare with what is known to be right.
    pub(crate) fn check_expected(&self, path: &Path) -> Result<()> {
        let mut found = serde_json::to_value(self)?;
        found.as_object_mut().context("no object")?.remove("messages_per_second");
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let expected: Value = serde_json::from_str(&text)?;
        ensure!(
            found == expected,
            "the summary is not what {} says; it is:\n{}",
            path.display(),
            serde_json::to_string_pretty(&found)?
        );
        Ok(())
    }

    pub(crate) fn for_people(&self, crashed: bool) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "published    {} messages{}",
            self.published,
            if crashed { ", through a crash" } else { "" }
        );
        for (handler, count) in &self.handled {
            let _ = writeln!(text, "handled      {count:>5} by {handler}");
        }
        let _ = writeln!(text, "retried      {:>5} (validate; all of them succeeded then)", self.retried);
        let _ = writeln!(text, "quarantined  {:>5}", self.quarantined.len());
        for Quarantined { id, handler, why } in &self.quarantined {
            let _ = writeln!(text, "               {id} by {handler}: {why}");
        }
        let alert = |field: &str| self.strongest_alert[field].to_string().trim_matches('"').to_owned();
        let _ = writeln!(
            text,
            "alerts       {:>5}, the strongest: magnitude {}, {}",
            self.alerts,
            alert("magnitude"),
            alert("place")
        );
        let mut regions: Vec<_> = self.regions.iter().collect();
        regions.sort_by_key(|(name, region)| (std::cmp::Reverse(region.count), name.as_str()));
        let _ = writeln!(text, "regions      {:>5}, the busiest:", regions.len());
        for (name, Region { count, strongest }) in regions.into_iter().take(5) {
            let _ = writeln!(text, "               {name}: {count} quakes, up to magnitude {strongest}");
        }
        let _ = write!(
            text,
            "speed        {:>5} messages/s, from the first publish to the last settled delivery",
            self.messages_per_second.unwrap_or_default()
        );
        text
    }
}

fn quarantined(client: &Client) -> Result<Vec<Quarantined>> {
    let answer = client.get("/v1/quarantine?limit=1000")?;
    let list = answer["quarantined"].as_array().context("no list of quarantined deliveries")?;
    let mut found: Vec<Quarantined> = list.iter().map(read_quarantined).collect::<Result<_>>()?;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

fn read_quarantined(record: &Value) -> Result<Quarantined> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing in a quarantine record");
    let attempts = record["attempts"].as_array().context("no attempts")?;
    let last = attempts.last().context("no attempt")?;
    Ok(Quarantined {
        id: text(&record["message"]["id"])?,
        handler: text(&record["handler"])?,
        why: text(&last["detail"])?,
    })
}

fn handled(client: &Client, quarantined: &[Quarantined]) -> Result<BTreeMap<String, u64>> {
    let queue = client.get("/v1/queues/quakes")?;
    let sequenced = queue["next_sequence"].as_u64().context("no next_sequence")? - 1;
    let consumers = queue["consumers"].as_array().context("no consumers")?;
    let handlers = consumers.iter().filter_map(Value::as_str);
    Ok(handlers
        .map(|handler| {
            let given_up = quarantined.iter().filter(|record| record.handler == handler).count() as u64;
            (handler.to_owned(), sequenced - given_up)
        })
        .collect())
}

fn alerts(client: &Client) -> Result<Vec<Value>> {
    let answer = client.get("/v1/queues/alerts/messages?limit=1000")?;
    let messages = answer["messages"].as_array().context("no messages")?;
    Ok(messages.iter().map(|message| message["data"].clone()).collect())
}

fn regions(client: &Client) -> Result<BTreeMap<String, Region>> {
    let mut regions = BTreeMap::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/handlers/region-stats/state?prefix=count:&limit=1000&after={}", escape(&after));
        let page = client.get(&path)?;
        for key in page["keys"].as_array().context("no keys")?.iter().filter_map(Value::as_str) {
            let name = key.trim_start_matches("count:").to_owned();
            let count = integer(client, "region-stats", key)?;
            let strongest = state(client, "region-stats", &format!("max:{name}"))?;
            let strongest = strongest.map_or(Ok(0.0), |text| text.trim().parse())?;
            regions.insert(name, Region { count, strongest });
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(regions),
        }
    }
}

fn integer(client: &Client, handler: &str, key: &str) -> Result<u64> {
    let text = state(client, handler, key)?;
    text.map_or(Ok(0), |text| text.parse().with_context(|| format!("state {key} of {handler} is no number: {text}")))
}

/// A value of a handler's state; none when there is none.
fn state(client: &Client, handler: &str, key: &str) -> Result<Option<String>> {
    let path = format!("/v1/handlers/{handler}/state/{}", escape(key));
    match client.get_text(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if format!("{error:#}").contains("404") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Percent-encode everything but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
