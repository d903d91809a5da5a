//! Everything that a host can tell a handler.

use std::{
    collections::hash_map::RandomState,
    fmt::Write as _,
    hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant, SystemTime},
};

use wasmill::{Context, http::Request};

/// What the host said, as text, and a number that is another one when any of it is.
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) number: u64,
}

/// Ask for all of it. `urls` are got one after the other; to one that ends with `=` the secret is added.
pub(crate) fn gather(ctx: &Context, urls: &[&str]) -> Seen {
    let mut text = String::new();
    let mut note = |what: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{what}: {value}");
    };
    let began = Instant::now();
    note("time", &nanoseconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()));
    note("random", &RandomState::new().hash_one(7));
    note("config", &ctx.config("greeting").unwrap_or_default());
    let secret = ctx.config("API_KEY").unwrap_or_default();
    // What it is must make no difference, for a replay has another one.
    note("secret", &secret.len());
    let state = ctx.state();
    note("stored", &String::from_utf8_lossy(&state.get("stored").ok().flatten().unwrap_or_default()));
    note("missing", &state.exists("missing").unwrap_or(true));
    let _ = state.set("own", b"written");
    note("own", &state.get("own").ok().flatten().unwrap_or_default().len());
    note("keys", &state.list_keys("", None).map(|page| page.keys.join(" ")).unwrap_or_default());
    for url in urls {
        let with_secret = url.ends_with('=');
        let url = if with_secret { format!("{url}{secret}") } else { (*url).to_owned() };
        match Request::get(url).send() {
            Ok(response) => {
                // The answer may hold the secret, and looking for it would take more or less work by what it is.
                let body = if with_secret { "" } else { &String::from_utf8_lossy(&response.body) };
                note("answer", &format!("{} {} {body}", response.status, response.body.len()));
            }
            Err(error) => note("error", &error),
        }
    }
    std::thread::sleep(Duration::from_millis(3));
    note("took", &nanoseconds(began.elapsed()));
    let mut hash = DefaultHasher::new();
    text.hash(&mut hash);
    Seen { number: hash.finish(), text }
}

fn nanoseconds(time: Duration) -> u128 {
    time.as_nanos()
}
