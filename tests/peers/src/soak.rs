//! A long run at half of what the host can take: memory and disk must stay as they are.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    case::{Case, Messages, Work},
    install,
    plot::{self, Line},
    process::{disk_mib, rss_mib},
    results::median,
    systems::{
        Place,
        wasmill::{Handling, Host},
        wasmill_http::{publish, topic_url},
    },
};

/// Run at half load for long, and watch memory and disk
#[derive(Debug, clap::Args)]
pub struct SoakArguments {
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Messages in a second; half of what is measured at the beginning unless told otherwise
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds between two looks
    #[arg(long, default_value_t = 10.0)]
    every: f64,
    /// Where soak.json and soak.svg go; results/ of this folder unless told otherwise
    #[arg(long)]
    out: Option<PathBuf>,
}

const DATA_BYTES: usize = 256;
/// Requests in a second; each carries what is due.
const REQUESTS_PER_S: f64 = 50.0;
/// Messages with which it is found out how many take [`FULL_S`].
const PILOT_MESSAGES: u64 = 100_000;
/// How long the full rate is measured, in seconds, about.
const FULL_S: f64 = 10.0;

#[derive(Serialize)]
struct Seen {
    minutes: f64,
    rate: f64,
    /// Memory in the last fifth of the run compared with the second one, and the same for the disk.
    memory_growth: f64,
    disk_growth: f64,
    published: u64,
    settled: u64,
    samples: Vec<Sample>,
}

/// From the second fifth of the run to the last, memory and disk may grow so many times; what leaks grows on.
const GROWTH_MAX: f64 = 1.1;

#[derive(Clone, Copy, Serialize)]
struct Sample {
    minutes: f64,
    memory_mib: f64,
    disk_mib: f64,
    settled_per_s: f64,
    /// Published and not yet settled.
    behind: u64,
}

pub async fn run(arguments: SoakArguments, place: &Place) -> Result<()> {
    let out = arguments.out.unwrap_or_else(|| install::checkout().join("tests/peers/results"));
    std::fs::create_dir_all(&out)?;
    let folder = place.folder.join("soak");
    std::fs::create_dir_all(&folder)?;
    let host = Host::start(place, &folder, &place.handlers, "").await?;
    // Receipts would pile up, so that the handler that publishes none is the one that runs for long.
    let case = Case::end_to_end(Work::Nothing, DATA_BYTES, 4, 1_000);
    host.prepare(&case, Handling::Components).await?;
    host.resume(&case).await?;
    let soak = Soak { host: &host, case, url: topic_url(&host, "work"), messages: Messages::new(DATA_BYTES)? };
    let rate = match arguments.rate {
        Some(rate) => rate,
        None => {
            let pilot = soak.full_rate(PILOT_MESSAGES).await?;
            soak.full_rate((pilot * FULL_S) as u64).await? / 2.0
        }
    };
    eprintln!("{rate:.0} messages/s for {} minutes", arguments.minutes);
    let length = Duration::from_secs_f64(arguments.minutes * 60.0);
    let every = Duration::from_secs_f64(arguments.every);
    let before = host.settled(&case).await?;
    let begun = Instant::now();
    let watch = async {
        let mut samples: Vec<Sample> = Vec::new();
        let (mut last, mut last_at) = (before, Instant::now());
        while begun.elapsed() < length {
            tokio::time::sleep(every.min(length.saturating_sub(begun.elapsed()) + Duration::from_millis(1))).await;
            let settled = host.settled(&case).await?;
            let sample = Sample {
                minutes: begun.elapsed().as_secs_f64() / 60.0,
                memory_mib: rss_mib(&host.servers()),
                disk_mib: disk_mib(&folder.join("store")),
                settled_per_s: (settled - last) as f64 / last_at.elapsed().as_secs_f64(),
                behind: ((begun.elapsed().as_secs_f64() * rate) as u64).saturating_sub(settled - before),
            };
            (last, last_at) = (settled, Instant::now());
            eprintln!("{}", serde_json::to_string(&sample)?);
            samples.push(sample);
        }
        anyhow::Ok(samples)
    };
    let (published, samples) = tokio::try_join!(soak.publish_at(rate, begun, length), watch)?;
    host.wait_settled(&case, before + published, false).await?;
    let settled = host.settled(&case).await? - before;
    host.stop()?;
    let growth = |figure: fn(&Sample) -> f64| growth(&samples.iter().map(figure).collect::<Vec<_>>());
    let seen = Seen {
        minutes: arguments.minutes,
        rate,
        memory_growth: growth(|sample| sample.memory_mib),
        disk_growth: growth(|sample| sample.disk_mib),
        published,
        settled,
        samples: samples.clone(),
    };
    write(&out, &seen)?;
    println!(
        "{published} messages published, {settled} settled, at {rate:.0}/s; memory x {:.3}, disk x {:.3} from the second \
         fifth to the last; written: {}/soak.json, soak.svg",
        seen.memory_growth,
        seen.disk_growth,
        out.display()
    );
    for (what, growth) in [("memory", seen.memory_growth), ("disk", seen.disk_growth)] {
        anyhow::ensure!(growth <= GROWTH_MAX, "{what} grew {growth:.3} times, more than {GROWTH_MAX}: it is not flat");
    }
    anyhow::ensure!(published == settled, "{published} messages were published and {settled} settled");
    Ok(())
}

struct Soak<'a> {
    host: &'a Host,
    case: Case,
    url: String,
    messages: Messages,
}

impl Soak<'_> {
    /// Messages in a second, end to end, with four publishers.
    async fn full_rate(&self, messages: u64) -> Result<f64> {
        let before = self.host.settled(&self.case).await?;
        let begun = Instant::now();
        let batch = 500;
        let publishers = (0..self.case.producers).map(|producer| {
            let share = self.case.share(producer, messages);
            crate::systems::wasmill_http::publish_batches(&self.url, share, batch, 2, |numbers| {
                self.messages.lines(numbers)
            })
        });
        futures::future::try_join_all(publishers).await?;
        self.host.wait_settled(&self.case, before + messages, false).await?;
        Ok(messages as f64 / begun.elapsed().as_secs_f64())
    }

    /// Publish what is due, until the time is over; how many that were.
    async fn publish_at(&self, rate: f64, begun: Instant, length: Duration) -> Result<u64> {
        let mut published = 0;
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / REQUESTS_PER_S));
        while begun.elapsed() < length {
            tick.tick().await;
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            // After a pause of the machine it is made up for bit by bit.
            let due = due.min(published + (rate / REQUESTS_PER_S * 4.0).ceil() as u64);
            if due > published {
                let lines = self.messages.lines(published..due);
                publish(self.host.client(), &self.url, lines, due - published).await.context("cannot publish")?;
                published = due;
            }
        }
        Ok(published)
    }
}

/// How many times as much the last fifth has as the second one; the first is warming up.
fn growth(samples: &[f64]) -> f64 {
    let fifth = samples.len().div_ceil(5);
    let of = |part: &[f64]| median(part.to_vec()).unwrap_or(f64::NAN);
    let second = samples.get(fifth..(fifth * 2).min(samples.len())).unwrap_or_default();
    of(&samples[samples.len() - fifth..]) / of(second)
}

fn write(out: &std::path::Path, seen: &Seen) -> Result<()> {
    let line = |title: &str, figure: fn(&Sample) -> f64| {
        let points = seen.samples.iter().map(|sample| (sample.minutes, figure(sample))).collect();
        Line { title: title.to_owned(), points }
    };
    let lines = [
        line("messages/s, settled", |sample| sample.settled_per_s),
        line("memory, MiB", |sample| sample.memory_mib),
        line("disk, MiB", |sample| sample.disk_mib),
    ];
    std::fs::write(out.join("soak.json"), serde_json::to_string_pretty(seen)?)?;
    let title = format!("Wasmill: {} minutes at half load ({:.0} messages/s)", seen.minutes, seen.rate);
    std::fs::write(out.join("soak.svg"), plot::lines(&title, "minutes", &lines)).context("cannot write the plot")
}

#[cfg(test)]
mod tests {
    use super::growth;

    #[test]
    fn growth_leaves_the_warm_up_out() {
        assert!((growth(&[1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]) - 1.0).abs() < 1e-9);
        assert!((growth(&[1.0, 2.0, 3.0, 4.0, 5.0]) - 2.5).abs() < 1e-9);
    }
}
