//! Publishes an alert for every strong earthquake, and counts all of them.

use serde::{Deserialize, Serialize};
use wasmill::{Context, OrFail, Outgoing, Result};

/// The least magnitude that is worth an alert, unless `magnitude-min` is configured.
const MAGNITUDE_MIN: f64 = 5.0;

#[derive(Deserialize)]
struct Quake {
    /// None for one that no station has worked out yet. It must be there all the same.
    #[serde(deserialize_with = "Option::deserialize")]
    magnitude: Option<f64>,
    place: String,
}

#[derive(Serialize)]
struct Alert {
    magnitude: f64,
    place: String,
}

#[wasmill::handler]
fn quake_alert(ctx: Context) -> Result {
    let Quake { magnitude, place } = ctx.message().json().or_reject("not a quake")?;
    ctx.state().increment("seen", 1)?;
    let magnitude = magnitude.unwrap_or(0.0);
    if magnitude >= ctx.config_as("magnitude-min")?.unwrap_or(MAGNITUDE_MIN) {
        ctx.publish(Outgoing::json("alerts", &Alert { magnitude, place: place.clone() })?.key(place))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill::{Delivery, Failure};

    use super::*;

    fn deliver(ctx: &Context, data: &str) -> Result {
        ctx.with_delivery(Delivery::for_test("quakes", data)).call(quake_alert)
    }

    #[test]
    fn strong_quakes_are_published_and_all_are_counted() {
        let ctx = Context::for_test();
        for magnitude in ["6.1", "4.9", "null"] {
            let data = format!(r#"{{"id": "us1", "magnitude": {magnitude}, "place": "Hualien, Taiwan"}}"#);
            assert_eq!(deliver(&ctx, &data), Ok(()));
        }
        let alert = Alert { magnitude: 6.1, place: "Hualien, Taiwan".to_owned() };
        assert_eq!(ctx.published(), [Outgoing::json("alerts", &alert).expect("it has JSON").key("Hualien, Taiwan")]);
        assert_eq!(ctx.state().get_int("seen"), Ok(3));
    }

    #[test]
    fn the_least_magnitude_is_configured() {
        let ctx = Context::for_test().with_config("magnitude-min", "2.5");
        assert_eq!(deliver(&ctx, r#"{"magnitude": 2.5, "place": "Nevada"}"#), Ok(()));
        assert_eq!(ctx.published().len(), 1);
    }

    #[test]
    fn what_is_no_quake_is_rejected() {
        for data in ["", "{", r#"{"place": "Tonga"}"#, r#"{"magnitude": "6", "place": "Tonga"}"#] {
            let Err(Failure::Reject(reason)) = deliver(&Context::for_test(), data) else {
                panic!("{data} is no quake")
            };
            assert!(reason.starts_with("not a quake: "), "{reason}");
        }
    }
}
