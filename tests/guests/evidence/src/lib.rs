//! Fails in many ways, all of which depend on what the host tells it, so that a replay which is told anything else shows it
//! by its fuel, its log and its words. Proves that a capsule holds all of it.
//!
//! The first word of its message says how: `seed` stores a value and succeeds; `trap`, `spin`, `reject`, `allocate`,
//! `publish`, `sleep` and `clock` fail. The other words are URLs that it gets first.

mod seen;

use std::{hint::black_box, time::Duration};

use wasmill::{Context, Outgoing, Text, reject};

#[wasmill::handler]
#[allow(clippy::print_stdout, reason = "what it saw is evidence")]
fn evidence(text: Text, ctx: Context) -> wasmill::Result {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (how, urls) = words.split_first().ok_or_else(|| reject("say how to fail"))?;
    if *how == "seed" {
        ctx.state().set("stored", urls.join(" ").as_bytes())?;
        return Ok(());
    }
    let seen = seen::gather(&ctx, urls);
    print!("{}", seen.text);
    println!("and the secret is {}", ctx.config("API_KEY").unwrap_or_default());
    // As much work as what it saw says.
    for at in 0..seen.number % 100_000 {
        let _ = black_box(at);
    }
    match *how {
        "trap" => panic!("saw {}", seen.number),
        "spin" => loop {
            black_box(seen.number);
        },
        "allocate" => loop {
            black_box(Box::leak(vec![1_u8; 65_536].into_boxed_slice()));
        },
        "publish" => loop {
            ctx.publish(Outgoing::text("seen", seen.number.to_string()))?;
        },
        "sleep" => std::thread::sleep(Duration::from_secs(3_600)),
        "clock" => (0..50_000).for_each(|_| _ = black_box(std::time::Instant::now())),
        _ => {}
    }
    Err(reject(format!("saw {}", seen.number)))
}
