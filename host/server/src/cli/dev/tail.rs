//! What the host does, line by line: each attempt, what it published and printed, and what became of the delivery.

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use wasmill_delivery::{
    effect::SettleAnswer,
    input::PublishEntry,
    job::JobState,
    name::{Digest, HandlerName, QueueName},
    outcome::Outcome,
    record::PauseReason,
    time::Timestamp,
};
use wasmill_runtime::{AttemptSeen, CanarySeen, Commit, Host, Observer, SettleSeen};

use crate::{
    cli::output::{cut, duration, say},
    telemetry::Metrics,
};

/// What happened and is not printed yet. What comes faster than a terminal takes it is counted instead.
const WAITING_MAX: usize = 10_000;
/// What is shown of a message's data, in characters.
const DATA_CHARS_SHOWN: usize = 200;
/// What is shown of a message's data is made of so many bytes of it.
const DATA_BYTES_READ: usize = 4 * DATA_CHARS_SHOWN;
/// How often consumers are asked whether they are paused.
const PAUSED_LOOK: Duration = Duration::from_millis(500);
/// As wide as the time in front of a line.
const INDENT: &str = "              ";

/// Prints what the host tells.
pub(super) struct Tail {
    teller: Arc<Teller>,
    printing: JoinHandle<()>,
    pauses: Option<JoinHandle<()>>,
}

/// Passes on what the host tells, to the metrics and to us.
struct Teller {
    metrics: Arc<Metrics>,
    seen: mpsc::Sender<Seen>,
    missed: Arc<AtomicU64>,
}

enum Seen {
    Attempt(Box<Attempt>),
    Settled { place: String, answer: SettleAnswer },
    Paused { consumer: String, reason: Option<PauseReason> },
    End,
}

struct Attempt {
    place: String,
    handler: String,
    attempt: u32,
    outcome: Outcome,
    published: Vec<PublishEntry>,
    /// Empty when an earlier attempt of its call had it.
    log: String,
    duration_us: u64,
    fuel_used: u64,
}

impl Tail {
    /// Print from now on, of a host that is going to listen there.
    pub(super) fn start(metrics: Arc<Metrics>, address: SocketAddr) -> Self {
        let (seen, telling) = mpsc::channel(WAITING_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let printing = tokio::spawn(print(telling, Arc::clone(&missed), address));
        Self { teller: Arc::new(Teller { metrics, seen, missed }), printing, pauses: None }
    }

    /// Whom a host has to tell.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.teller) as _
    }

    /// Tell of this host, and no other, when a consumer is paused or goes on.
    pub(super) fn watch_pauses(&mut self, host: &Host) {
        let watching = tokio::spawn(watch_pauses(host.clone(), self.teller.seen.clone()));
        if let Some(before) = self.pauses.replace(watching) {
            before.abort();
        }
    }

    /// Print what there is still to print.
    pub(super) async fn end(self) {
        if let Some(pauses) = self.pauses {
            pauses.abort();
        }
        if self.teller.seen.send(Seen::End).await.is_ok() {
            let _ = self.printing.await;
        }
    }
}

impl Teller {
    fn tell(&self, seen: Seen) {
        if self.seen.try_send(seen).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observer for Teller {
    fn published(&self, queue: &QueueName, messages: u64) {
        self.metrics.published(queue, messages);
    }

    fn committed(&self, commit: &Commit) {
        self.metrics.committed(commit);
    }

    fn attempted(&self, attempt: &AttemptSeen<'_>) {
        Observer::attempted(&*self.metrics, attempt);
        self.tell(Seen::Attempt(Box::new(Attempt {
            place: format!("{}/{}", attempt.queue, attempt.sequence.0),
            handler: attempt.handler.to_string(),
            attempt: attempt.attempt,
            outcome: attempt.outcome.clone(),
            published: attempt.published.to_vec(),
            log: if attempt.place_in_call == 0 { attempt.log.to_owned() } else { String::new() },
            duration_us: attempt.duration_us,
            fuel_used: attempt.fuel_used,
        })));
    }

    fn settled(&self, settled: &SettleSeen<'_>) {
        Observer::settled(&*self.metrics, settled);
        if settled.handler.is_some() && *settled.answer != SettleAnswer::Committed {
            let place = format!("{}/{}", settled.queue, settled.sequence.0);
            self.tell(Seen::Settled { place, answer: settled.answer.clone() });
        }
    }

    fn job_ended(&self, state: JobState) {
        self.metrics.job_ended(state);
    }

    fn handler_replaced(&self, handler: &HandlerName, digest: Digest) {
        self.metrics.handler_replaced(handler, digest);
    }

    fn canary_ended(&self, canary: &CanarySeen<'_>) {
        self.metrics.canary_ended(canary);
    }
}

async fn watch_pauses(host: Host, seen: mpsc::Sender<Seen>) {
    let mut known = std::collections::BTreeMap::new();
    let mut look = interval(PAUSED_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let Ok(consumers) = host.consumers().await else { return };
        for consumer in consumers {
            let name = format!("{}/{}", consumer.queue, consumer.record.name);
            let reason = consumer.record.paused;
            if known.insert(name.clone(), reason.clone()).flatten() != reason {
                // When the terminal is that far behind, it is told at the next change.
                let _ = seen.try_send(Seen::Paused { consumer: name, reason });
            }
        }
    }
}

async fn print(mut telling: mpsc::Receiver<Seen>, missed: Arc<AtomicU64>, address: SocketAddr) {
    let paint = Paint { colours: std::io::stdout().is_terminal() };
    while let Some(seen) = telling.recv().await {
        let text = match seen {
            Seen::Attempt(attempt) => paint.attempt(&attempt),
            Seen::Settled { place, answer } => settled(&place, &answer, address),
            Seen::Paused { consumer, reason } => paused(&consumer, reason.as_ref()),
            Seen::End => return,
        };
        // When nobody reads any more there is nobody to tell.
        let _ = say(text);
        let missed = missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let _ = say(format!("{INDENT}{missed} more lines came too fast to be shown"));
        }
    }
}

struct Paint {
    colours: bool,
}

impl Paint {
    fn attempt(&self, attempt: &Attempt) -> String {
        let Attempt { place, handler, outcome, duration_us, fuel_used, log, .. } = attempt;
        let number = if attempt.attempt > 1 { format!("  attempt {}", attempt.attempt) } else { String::new() };
        let ms = *duration_us as f64 / 1_000.0;
        let outcome_word = self.outcome(outcome);
        let fuel = grouped(*fuel_used);
        let mut lines =
            vec![format!("{}  {place}  {handler}{number}  {outcome_word}  {ms:.2} ms  {fuel} fuel", clock())];
        if *outcome != Outcome::Success {
            lines.push(format!("{INDENT}because    {}", outcome.describe()));
        }
        lines.extend(attempt.published.iter().map(published));
        lines.extend(log.lines().map(|line| format!("{INDENT}log        {line}")));
        lines.join("\n")
    }

    fn outcome(&self, outcome: &Outcome) -> String {
        let name = outcome.name();
        if !self.colours {
            return name.to_owned();
        }
        let is_later = matches!(outcome, Outcome::Retry { .. } | Outcome::Defer { .. } | Outcome::Throttle { .. });
        let colour = match (matches!(outcome, Outcome::Success), is_later) {
            (true, _) => 32,
            (false, true) => 33,
            (false, false) => 31,
        };
        format!("\x1b[{colour}m{name}\x1b[0m")
    }
}

fn published(entry: &PublishEntry) -> String {
    let message = &entry.message;
    let data = &message.data[..message.data.len().min(DATA_BYTES_READ)];
    let data = cut(&String::from_utf8_lossy(data), DATA_CHARS_SHOWN);
    let key = message.key.as_ref().map(|key| format!("  key {key}")).unwrap_or_default();
    let later = if entry.deliver_at.is_some() { "  later" } else { "" };
    format!("{INDENT}published  {}{key}{later}  {data}", message.topic)
}

fn settled(place: &str, answer: &SettleAnswer, address: SocketAddr) -> String {
    let words = match answer {
        SettleAnswer::Committed => return String::new(),
        SettleAnswer::RetryAt { due, burned_attempt } => {
            let burned = if *burned_attempt { "" } else { ", which burns no attempt" };
            format!("runs again in {}{burned}", duration(due.0.saturating_sub(now().0)))
        }
        SettleAnswer::Quarantined { id, reason } => {
            return format!(
                "{}  {place}  quarantined as {id}: {}\n{INDENT}look at it   wasmill quarantine show {id} --url http://{address}\n\
                 {INDENT}run it again wasmill quarantine replay {id} --url http://{address}",
                clock(),
                reason.name(),
            );
        }
        SettleAnswer::Conflict => "void, because its state was changed meanwhile; runs again at once".to_owned(),
        SettleAnswer::PublishRefused { refusal, due } => {
            let wait = duration(due.0.saturating_sub(now().0));
            format!("void, because what it published is refused: {refusal}; runs again in {wait}")
        }
        SettleAnswer::OutOfOrder => {
            "void, because an earlier delivery of its key is not settled; runs in its turn".to_owned()
        }
        SettleAnswer::Expired => "dropped, because it had expired".to_owned(),
        SettleAnswer::Cancelled => "void, because its job was cancelled".to_owned(),
        SettleAnswer::StaleFence => "void, because its lease was over".to_owned(),
    };
    format!("{}  {place}  {words}", clock())
}

fn paused(consumer: &str, reason: Option<&PauseReason>) -> String {
    let words = match reason {
        None => "goes on".to_owned(),
        Some(PauseReason::Operator) => "paused by an operator".to_owned(),
        Some(PauseReason::Handler { detail }) => format!("paused, because its handler cannot run: {detail}"),
        Some(PauseReason::Store { detail }) => format!("paused, because a message cannot be read: {detail}"),
        Some(PauseReason::QuarantineFull) => "paused, because the quarantine is full".to_owned(),
        Some(PauseReason::Storm { fingerprint }) => {
            format!("paused, because most deliveries fail alike ({fingerprint}); it tries one now and then")
        }
        Some(PauseReason::Poison { quarantine }) => {
            format!("paused, because {quarantine} is in quarantine and its order is to be kept")
        }
    };
    format!("{}  {consumer}  {words}", clock())
}

fn now() -> Timestamp {
    let ms = jiff::Timestamp::now().as_millisecond();
    Timestamp(u64::try_from(ms).unwrap_or_default())
}

/// The time of day, in UTC.
pub(super) fn clock() -> String {
    jiff::Timestamp::now().strftime("%H:%M:%S%.3f").to_string()
}

/// With commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use wasmill_delivery::{
        message::{Lineage, Message},
        name::{ConsumerName, MessageId, Sequence},
        topic::Topic,
    };

    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[tokio::test]
    async fn what_comes_too_fast_is_counted() {
        let (seen, _unread) = mpsc::channel(1);
        let teller = Teller { metrics: Arc::new(Metrics::default()), seen, missed: Arc::default() };
        for _ in 0..3 {
            teller.tell(Seen::End);
        }
        assert_eq!(teller.missed.load(Ordering::Relaxed), 2);
    }

    /// Two quick calls may take as long as each other, burn as much and print the same: each has its log all the same.
    #[tokio::test]
    async fn the_log_of_a_call_is_shown_once() {
        let (seen, mut telling) = mpsc::channel(3);
        let teller = Teller { metrics: Arc::new(Metrics::default()), seen, missed: Arc::default() };
        let message = Message {
            id: MessageId::new("m").expect("an id"),
            topic: Topic::new("in").expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: Default::default(),
            published_at: Timestamp(0),
            expires_at: None,
            lineage: Lineage::default(),
        };
        for place_in_call in [0, 1, 0] {
            teller.attempted(&AttemptSeen {
                queue: &QueueName::new("in").expect("a name"),
                consumer: &ConsumerName::new("h").expect("a name"),
                handler: &HandlerName::new("h").expect("a name"),
                outcome: &Outcome::Success,
                duration_us: 20,
                fuel_used: 1_000,
                memory_bytes_peak: 65_536,
                message: &message,
                attempt: 1,
                log: "a line",
                place_in_call,
                sequence: Sequence::FIRST,
                published: &[],
            });
        }
        for expected in [true, false, true] {
            let Some(Seen::Attempt(attempt)) = telling.recv().await else { panic!("it was told") };
            let said = Paint { colours: false }.attempt(&attempt);
            assert_eq!(said.contains("log        a line"), expected, "{said}");
        }
    }

    #[test]
    fn a_quarantined_delivery_comes_with_its_commands() {
        let answer = SettleAnswer::Quarantined {
            id: wasmill_delivery::name::QuarantineId(7),
            reason: wasmill_delivery::record::QuarantineReason::Rejected,
        };
        let said = settled("quakes/3", &answer, SocketAddr::from(([127, 0, 0, 1], 8_000)));
        assert!(said.contains("quakes/3  quarantined as 7: rejected"), "{said}");
        assert!(said.contains("wasmill quarantine replay 7 --url http://127.0.0.1:8000"), "{said}");
    }
}
