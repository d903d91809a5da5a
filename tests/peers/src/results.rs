//! What was seen, over all rounds: medians, and ratios within one round.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    case::{Case, Shape, Work},
    measure::Figures,
    systems::Kind,
};

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub round: u32,
    pub system: &'static str,
    pub case: String,
    #[serde(flatten)]
    pub what: Case,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Figures(Figures),
    /// It cannot do this, and why.
    Skipped(String),
    /// It failed, and how.
    Failed(String),
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub versions: BTreeMap<String, String>,
    pub settings: BTreeMap<&'static str, &'static str>,
    pub rounds: u32,
    pub problems: Vec<String>,
    pub records: Vec<Record>,
    pub medians: Vec<Median>,
    pub ratios: Vec<Ratio>,
    pub targets: Vec<Target>,
}

/// The median over the rounds of each figure.
#[derive(Clone, Debug, Serialize)]
pub struct Median {
    pub system: &'static str,
    pub case: String,
    pub rounds: usize,
    #[serde(flatten)]
    pub figures: Figures,
}

/// How many times as fast a line of Wasmill is as another system: the median of the ratios within one round.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    pub wasmill: &'static str,
    pub to: &'static str,
    pub case: String,
    pub median: f64,
    pub rounds: Vec<f64>,
}

/// What was promised, and what was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    pub what: String,
    pub wanted: String,
    pub seen: Option<f64>,
    pub met: Option<bool>,
}

pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let (below, above) = (numbers.get(numbers.len().checked_sub(1)? / 2)?, numbers.get(numbers.len() / 2)?);
    Some(f64::midpoint(*below, *above))
}

/// The figures of one system and case, with their rounds.
fn seen<'a>(records: &'a [Record], system: &'a str, case: &'a str) -> impl Iterator<Item = (u32, &'a Figures)> {
    let records = records.iter().filter(move |record| record.system == system && record.case == case);
    records.filter_map(|record| match &record.outcome {
        Outcome::Figures(figures) => Some((record.round, figures)),
        Outcome::Skipped(_) | Outcome::Failed(_) => None,
    })
}

pub fn cases(records: &[Record]) -> Vec<String> {
    let mut cases: Vec<String> = Vec::new();
    for record in records {
        if !cases.contains(&record.case) {
            cases.push(record.case.clone());
        }
    }
    cases
}

pub fn medians(records: &[Record]) -> Vec<Median> {
    let mut medians = Vec::new();
    for case in cases(records) {
        for system in Kind::ALL.map(Kind::name) {
            let all: Vec<&Figures> = seen(records, system, &case).map(|(_, figures)| figures).collect();
            let of = |figure: fn(&Figures) -> f64| median(all.iter().map(|figures| figure(figures)).collect());
            let of_some = |figure: fn(&Figures) -> Option<f64>| {
                median(all.iter().filter_map(|figures| figure(figures)).collect())
            };
            let Some(per_s) = of(|figures| figures.per_s) else { continue };
            let or_zero = |figure: fn(&Figures) -> f64| of(figure).unwrap_or_default();
            let figures = Figures {
                messages: all.last().map_or(0, |figures| figures.messages),
                per_s,
                publish_per_s: or_zero(|figures| figures.publish_per_s),
                latency_p50_ms: of_some(|figures| figures.latency_p50_ms),
                latency_p99_ms: of_some(|figures| figures.latency_p99_ms),
                server_cpu_s_per_million: or_zero(|figures| figures.server_cpu_s_per_million),
                all_cpu_s_per_million: or_zero(|figures| figures.all_cpu_s_per_million),
                server_rss_mib: or_zero(|figures| figures.server_rss_mib),
                raw_append_per_s: of_some(|figures| figures.raw_append_per_s),
            };
            medians.push(Median { system, case: case.clone(), rounds: all.len(), figures });
        }
    }
    medians
}

pub fn ratios(records: &[Record]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let (ours, theirs): (Vec<Kind>, Vec<Kind>) = Kind::ALL.iter().partition(|kind| kind.is_wasmill());
    for case in cases(records) {
        for wasmill in ours.iter().map(|kind| kind.name()) {
            for to in theirs.iter().map(|kind| kind.name()) {
                let peer: BTreeMap<u32, f64> =
                    seen(records, to, &case).map(|(round, figures)| (round, figures.per_s)).collect();
                let rounds = seen(records, wasmill, &case);
                let rounds = rounds.filter_map(|(round, figures)| Some(figures.per_s / peer.get(&round)?));
                let rounds: Vec<f64> = rounds.collect();
                if let Some(median) = median(rounds.clone()) {
                    ratios.push(Ratio { wasmill, to, case: case.clone(), median, rounds });
                }
            }
        }
    }
    ratios
}

/// The promises of the project, for the load that they name.
pub fn targets(ratios: &[Ratio], medians: &[Median]) -> Vec<Target> {
    let load = Case::end_to_end(Work::Nothing, 256, 4, 100).to_string();
    let many = Case::end_to_end(Work::Nothing, 256, 4, 1_000).to_string();
    let one = Case { shape: Shape::Latency, ..Case::end_to_end(Work::Nothing, 256, 1, 1) }.to_string();
    let mut targets = Vec::new();
    for line in ["wasmill-batch", "wasmill-stream", "wasmill-http"] {
        for (peer, wanted) in [
            ("nats-debian", 3.0),
            ("nats", 3.0),
            ("nats-batch", 3.0),
            ("redis-always", 5.0),
            ("rabbitmq-quorum", 10.0),
            ("celery", 100.0),
        ] {
            let ratio = ratios.iter().find(|ratio| ratio.wasmill == line && ratio.to == peer && ratio.case == load);
            let seen = ratio.map(|ratio| ratio.median);
            let met = seen.map(|seen| seen >= wanted);
            targets.push(Target { what: format!("{line} / {peer}"), wanted: format!("at least {wanted}"), seen, met });
        }
    }
    let figures = |system: &str, case: &str| {
        medians.iter().find(|median| median.system == system && median.case == case).map(|median| median.figures)
    };
    let mut least = |what: &str, wanted: f64, seen: Option<f64>| {
        let met = seen.map(|seen| seen >= wanted);
        targets.push(Target { what: what.to_owned(), wanted: format!("at least {wanted}"), seen, met });
    };
    let process = figures("wasmill-in-process", &load);
    let share = process.and_then(|figures| Some(figures.per_s / figures.raw_append_per_s?));
    least("in process, share of raw append + fdatasync", 0.6, share);
    least("in process, 4x100, messages/s", 150_000.0, process.map(|figures| figures.per_s));
    let process = figures("wasmill-in-process", &many);
    least("in process, 4x1000, messages/s", 250_000.0, process.map(|figures| figures.per_s));
    for line in ["wasmill-batch", "wasmill-stream", "wasmill-http", "wasmill-in-process"] {
        let figures = figures(line, &one);
        let mut most = |what: &str, wanted: f64, seen: Option<f64>| {
            let met = seen.map(|seen| seen <= wanted);
            targets.push(Target { what: format!("{line}, {what}"), wanted: format!("at most {wanted}"), seen, met });
        };
        most("latency, median, ms", 1.0, figures.and_then(|figures| figures.latency_p50_ms));
        most("latency, p99, ms", 5.0, figures.and_then(|figures| figures.latency_p99_ms));
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_lie_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let what = Case::end_to_end(Work::Nothing, 256, 4, 100);
        let record = |round, system, per_s| Record {
            round,
            system,
            case: what.to_string(),
            what,
            outcome: Outcome::Figures(Figures { per_s, ..Figures::default() }),
        };
        let mut records = vec![record(1, "wasmill-http", 30.0), record(1, "nats", 10.0)];
        records.extend([record(2, "wasmill-http", 8.0), record(2, "nats", 4.0), record(3, "wasmill-http", 9.0)]);
        let ratios = ratios(&records);
        assert_eq!(ratios.len(), 1);
        assert_eq!(ratios[0].rounds, [3.0, 2.0]);
        let targets = targets(&ratios, &medians(&records));
        let target = targets.iter().find(|target| target.what == "wasmill-http / nats").unwrap();
        assert_eq!((target.seen, target.met), (Some(2.5), Some(false)));
    }
}
