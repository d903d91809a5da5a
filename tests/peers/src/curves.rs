//! Cost curves: how throughput and memory of Wasmill go with one thing that is varied. Each point has a host of its own.

mod points;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    install,
    plot::{self, Line},
    systems::Place,
    table,
};

/// Measure Wasmill against one thing that is varied
#[derive(Debug, clap::Args)]
pub struct CurvesArguments {
    /// Only these curves
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Curve>,
    /// A backlog of 10 million too
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// Leave out the larger points
    #[arg(long)]
    quick: bool,
    /// Messages of one point, unless they are what is varied
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// After how many seconds a point is given up
    #[arg(long, default_value_t = 1_800)]
    patience: u64,
    /// Where NAME.json and NAME.svg go; results/ of this folder unless told otherwise
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Curve {
    /// Messages that wait
    Backlog,
    /// Bytes of one message
    MessageSize,
    /// Queues, each with a consumer
    Queues,
    /// Consumers of one queue, each gets every message
    Consumers,
    /// Handlers, each with a queue
    Handlers,
    /// Keys of a queue whose consumer keeps their order
    Keys,
    /// Messages that failed and wait for their retry
    Retries,
}

impl Curve {
    const ALL: [Self; 7] =
        [Self::Backlog, Self::MessageSize, Self::Queues, Self::Consumers, Self::Handlers, Self::Keys, Self::Retries];

    const fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::MessageSize => "message-size",
            Self::Queues => "queues",
            Self::Consumers => "consumers",
            Self::Handlers => "handlers",
            Self::Keys => "keys",
            Self::Retries => "retries",
        }
    }

    const fn axis(self) -> &'static str {
        match self {
            Self::Backlog => "messages that wait",
            Self::MessageSize => "bytes of one message",
            Self::Queues => "queues, each with a consumer (messages go to 1,000 of them at most)",
            Self::Consumers => "consumers of one queue",
            Self::Handlers => "handlers, each with a queue",
            Self::Keys => "keys in order",
            Self::Retries => "retries that wait",
        }
    }

    fn values(self, quick: bool, long: bool) -> Vec<u64> {
        let mut all: Vec<u64> = match self {
            Self::Backlog => vec![10_000, 100_000, 1_000_000],
            Self::MessageSize => vec![64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20],
            Self::Queues => vec![1, 10, 100, 1_000, 10_000],
            Self::Consumers => vec![1, 2, 5, 10, 20, 50, 100],
            Self::Handlers => vec![1, 10, 100, 1_000],
            Self::Keys => vec![1, 10, 100, 1_000, 10_000, 100_000],
            Self::Retries => vec![1_000, 10_000, 100_000, 1_000_000],
        };
        if quick {
            all.truncate(all.len() - all.len() / 3);
        }
        if long && self == Self::Backlog {
            all.push(10_000_000);
        }
        all
    }
}

/// What was seen at one value: figures by their names.
pub type Figures = BTreeMap<&'static str, f64>;

/// Names of figures.
pub const PER_S: &str = "messages/s, published, handled and settled";
pub const PUBLISH_PER_S: &str = "messages/s, published";
pub const DRAIN_PER_S: &str = "messages/s, drained";
pub const DELIVERIES_PER_S: &str = "deliveries/s";
pub const MIB_PER_S: &str = "MiB/s";
pub const MEMORY_MIB: &str = "memory, MiB";
pub const DISK_MIB: &str = "disk, MiB";

#[derive(Serialize)]
struct Seen {
    curve: &'static str,
    axis: &'static str,
    versions: BTreeMap<String, String>,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    value: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    figures: Figures,
}

pub async fn run(arguments: CurvesArguments, place: &Place) -> Result<()> {
    let out = arguments.out.unwrap_or_else(|| install::checkout().join("tests/peers/results"));
    std::fs::create_dir_all(&out)?;
    let curves = if arguments.only.is_empty() { Curve::ALL.to_vec() } else { arguments.only };
    for curve in curves {
        let versions = install::versions(&place.wasmill, &place.venv).into_iter().collect();
        let mut seen = Seen { curve: curve.name(), axis: curve.axis(), versions, points: Vec::new() };
        for value in curve.values(arguments.quick, arguments.long) {
            let patience = Duration::from_secs(arguments.patience);
            let measured =
                tokio::time::timeout(patience, points::measure(curve, value, arguments.messages, place)).await;
            let measured = measured.unwrap_or_else(|_| Err(anyhow::anyhow!("it was not done after {patience:?}")));
            let point = match measured {
                Ok(figures) => Point { value, failed: None, figures },
                Err(error) => Point { value, failed: Some(format!("{error:#}")), figures: Figures::new() },
            };
            eprintln!("{}: {value}: {:?} {:?}", curve.name(), point.figures, point.failed);
            seen.points.push(point);
            write(&out, &seen)?;
        }
        println!("{}: {}\n{}\n", seen.curve, seen.axis, for_people(&seen));
    }
    println!("written: {}", out.display());
    Ok(())
}

fn figures(seen: &Seen) -> Vec<&'static str> {
    let names = [PER_S, DELIVERIES_PER_S, MIB_PER_S, PUBLISH_PER_S, DRAIN_PER_S, MEMORY_MIB, DISK_MIB];
    names.into_iter().filter(|name| seen.points.iter().any(|point| point.figures.contains_key(name))).collect()
}

fn write(out: &std::path::Path, seen: &Seen) -> Result<()> {
    let lines: Vec<Line> = figures(seen)
        .into_iter()
        .map(|name| {
            let points = seen.points.iter();
            let points = points.filter_map(|point| Some((point.value as f64, *point.figures.get(name)?))).collect();
            Line { title: name.to_owned(), points }
        })
        .collect();
    std::fs::write(out.join(format!("{}.json", seen.curve)), serde_json::to_string_pretty(seen)?)?;
    let svg = plot::lines(&format!("Wasmill: {}", seen.curve), seen.axis, &lines);
    std::fs::write(out.join(format!("{}.svg", seen.curve)), svg).context("cannot write the plot")
}

fn for_people(seen: &Seen) -> comfy_table::Table {
    let names = figures(seen);
    let mut table = table::table(&[&[seen.axis], &names[..]].concat());
    for point in &seen.points {
        let figures =
            names.iter().map(|name| point.figures.get(name).map_or_else(String::new, |seen| plot::number(*seen)));
        let mut row = vec![point.value.to_string()];
        match &point.failed {
            Some(why) => row.push(format!("failed: {why}")),
            None => row.extend(figures),
        }
        table.add_row(row);
    }
    table
}
