//! The report for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::{
    case::{Case, Shape, Work},
    plot::{self, Bar, Panel},
    results::{Median, Outcome, Report, cases},
    systems::Kind,
};

/// A table that Markdown understands too, numbers to the right.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(head);
    for column in 1..head.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

pub fn for_people(report: &Report) -> String {
    let mut said = String::from("What was measured\n");
    let mut versions = table(&["", ""]);
    for (name, version) in &report.versions {
        versions.add_row([name, version]);
    }
    for (name, settings) in &report.settings {
        versions.add_row([format!("{name}: settings"), (*settings).to_owned()]);
    }
    said += &format!("{versions}\n");
    for case in cases(&report.records) {
        said += &format!("\n{case} (median of {} rounds)\n{}\n", report.rounds, of_case(report, &case));
    }
    let mut targets = table(&["target", "wanted", "seen", "met"]);
    for target in &report.targets {
        let seen = target.seen.map_or_else(|| "-".to_owned(), plot::number);
        let met = target.met.map_or("-", |met| if met { "yes" } else { "no" });
        targets.add_row([&target.what, &target.wanted, &seen, met]);
    }
    said += &format!("\nTargets\n{targets}\n");
    for problem in &report.problems {
        said += &format!("problem: {problem}\n");
    }
    for record in &report.records {
        if let Outcome::Failed(why) = &record.outcome {
            said += &format!("failed: round {}, {}, {}: {why}\n", record.round, record.system, record.case);
        }
    }
    said
}

fn of_case(report: &Report, case: &str) -> Table {
    let medians: Vec<&Median> = report.medians.iter().filter(|median| median.case == case).collect();
    let ours = fastest_of_ours(&medians);
    let is_latency = medians.iter().any(|median| median.figures.latency_p50_ms.is_some())
        && !medians.iter().any(|median| median.figures.latency_p50_ms.is_none());
    let speed = if is_latency { ["p50 ms", "p99 ms"] } else { ["messages/s", "published/s"] };
    let ratio_head = ours.map_or_else(|| "ratio".to_owned(), |ours| format!("{ours} is x times"));
    let head = ["", speed[0], speed[1], &ratio_head, "server CPU s/M", "all CPU s/M", "server MiB", "messages"];
    let mut table = table(&head);
    for system in Kind::ALL.map(Kind::name) {
        let Some(Median { figures, .. }) = medians.iter().find(|median| median.system == system) else {
            if let Some(why) = why_not(report, system, case) {
                table.add_row([system.to_owned(), why]);
            }
            continue;
        };
        let ratio =
            report.ratios.iter().find(|ratio| Some(ratio.wasmill) == ours && ratio.to == system && ratio.case == case);
        let [first, second] = if is_latency {
            [figures.latency_p50_ms, figures.latency_p99_ms]
                .map(|ms| ms.map_or_else(String::new, |ms| format!("{ms:.2}")))
        } else {
            [figures.per_s, figures.publish_per_s].map(|per_s| format!("{per_s:.0}"))
        };
        // What has no server of its own to watch says nothing of it.
        let unless_zero = |value: f64, digits: usize| {
            if value == 0.0 { String::new() } else { format!("{value:.digits$}") }
        };
        table.add_row([
            system.to_owned(),
            first,
            second,
            ratio.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median)),
            unless_zero(figures.server_cpu_s_per_million, 1),
            unless_zero(figures.all_cpu_s_per_million, 1),
            unless_zero(figures.server_rss_mib, 0),
            figures.messages.to_string(),
        ]);
    }
    table
}

/// The network line of Wasmill that ratios are shown for.
fn fastest_of_ours(medians: &[&Median]) -> Option<&'static str> {
    let ours =
        medians.iter().filter(|median| ["wasmill-batch", "wasmill-stream", "wasmill-http"].contains(&median.system));
    ours.max_by(|one, other| one.figures.per_s.total_cmp(&other.figures.per_s)).map(|median| median.system)
}

fn why_not(report: &Report, system: &str, case: &str) -> Option<String> {
    let record = report.records.iter().find(|record| record.system == system && record.case == case)?;
    match &record.outcome {
        Outcome::Figures(_) => None,
        Outcome::Skipped(_) => Some("not possible".to_owned()),
        Outcome::Failed(_) => Some("failed".to_owned()),
    }
}

/// The plot of the README: what matters most, one panel each.
pub fn plot(report: &Report) -> String {
    let base = Case::end_to_end(Work::Nothing, 256, 4, 100);
    let mut panels = Vec::new();
    for (case, title) in [
        (base, "publish, handle, acknowledge: messages/s"),
        (Case { work: Work::Forward, ..base }, "parse JSON and publish one: messages/s"),
        (Case { consumers: 5, ..base }, "fan-out to 5 consumers: messages/s"),
        (Case { in_flight: 1_000, ..base }, "the first, with 1,000 in flight: messages/s"),
    ] {
        panels.push(panel(report, &case.to_string(), title, |median| Some(median.figures.per_s)));
    }
    let backlogs = |median: &&Median| median.case.starts_with("backlog");
    if let Some(backlog) = report.medians.iter().find(backlogs) {
        panels
            .push(panel(report, &backlog.case, "drain of a backlog: messages/s", |median| Some(median.figures.per_s)));
    }
    let latency = Case { shape: Shape::Latency, ..Case::end_to_end(Work::Nothing, 256, 1, 1) }.to_string();
    panels.push(panel(report, &latency, "one at a time, publish to handled: ms, median", |median| {
        median.figures.latency_p50_ms
    }));
    panels.retain(|panel| !panel.bars.is_empty());
    plot::bars("256 B messages, 4 producers with 100 in flight, two cores for client and server", &panels)
}

fn panel(report: &Report, case: &str, title: &str, value: fn(&Median) -> Option<f64>) -> Panel {
    let medians = report.medians.iter().filter(|median| median.case == case);
    let bars = medians.filter_map(|median| {
        let is_ours = median.system.starts_with("wasmill");
        Some(Bar { label: median.system.to_owned(), value: value(median)?, is_ours })
    });
    Panel { title: title.to_owned(), bars: bars.collect() }
}
