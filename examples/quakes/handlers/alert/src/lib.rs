//! Publishes an alert for every strong earthquake.
//!
//! The lesson: read only the fields that matter, and publish a small message of your own rather than pass on a large
//! one. Records that it cannot read are none of its business; `validate` is the one that rejects them, so that a broken
//! record is in quarantine once and not once per handler.

use serde::{Deserialize, Serialize};
use wasmill::{Context, Outgoing};

/// The least magnitude that is worth an alert, unless `magnitude-min` is configured.
const MAGNITUDE_MIN: f64 = 5.0;

/// What is read of a GeoJSON record of the earthquake catalogue.
#[derive(Deserialize)]
struct Record {
    id: String,
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    /// Missing for a few records that a station has not worked out yet.
    mag: Option<f64>,
    place: String,
    /// Milliseconds since 1970.
    time: i64,
}

/// What is published.
#[derive(Serialize)]
struct Alert {
    id: String,
    magnitude: f64,
    place: String,
    /// Milliseconds since 1970.
    time: i64,
}

#[wasmill::handler]
fn alert(ctx: Context) -> wasmill::Result {
    let Ok(record) = ctx.message().json::<Record>() else { return Ok(()) };
    let magnitude_min = ctx.config_as("magnitude-min")?.unwrap_or(MAGNITUDE_MIN);
    if let Some(alert) = alert_for(record, magnitude_min) {
        ctx.publish(Outgoing::json("alerts", &alert)?.key(alert.id))?;
    }
    Ok(())
}

fn alert_for(record: Record, magnitude_min: f64) -> Option<Alert> {
    let Record { id, properties: Properties { mag, place, time } } = record;
    let magnitude = mag.filter(|magnitude| *magnitude >= magnitude_min)?;
    Some(Alert { id, magnitude, place, time })
}

#[cfg(test)]
mod tests {
    use wasmill::{Delivery, Outgoing};

    use super::*;

    fn published(ctx: &Context, data: &str) -> Vec<Outgoing> {
        let ctx = ctx.with_delivery(Delivery::for_test("quakes", data));
        assert_eq!(alert(ctx.clone()), Ok(()));
        ctx.published()
    }

    fn record(magnitude: &str) -> String {
        format!(
            r#"{{"id":"us1","properties":{{"mag":{magnitude},"place":"Hualien, Taiwan","time":15}},"geometry":null}}"#
        )
    }

    #[test]
    fn only_strong_earthquakes_are_published() {
        for (magnitude, expected) in [("4.99", 0), ("5", 1), ("6.4", 1), ("null", 0)] {
            assert_eq!(published(&Context::for_test(), &record(magnitude)).len(), expected, "{magnitude}");
        }
        let alerts = published(&Context::for_test(), &record("6.4"));
        assert_eq!(alerts[0].topic, "alerts");
        assert_eq!(alerts[0].data, br#"{"id":"us1","magnitude":6.4,"place":"Hualien, Taiwan","time":15}"#);
    }

    #[test]
    fn the_least_magnitude_is_configured() {
        let ctx = Context::for_test().with_config("magnitude-min", "2.5");
        assert_eq!(published(&ctx, &record("2.5")).len(), 1);
    }

    #[test]
    fn a_broken_record_is_not_its_problem() {
        for line in include_str!("../../../data/broken.ndjson").lines() {
            assert_eq!(published(&Context::for_test(), line), [], "{line}");
        }
    }

    #[test]
    fn the_real_records_hold_39_strong_earthquakes() {
        let ctx = Context::for_test();
        for line in include_str!("../../../data/earthquakes.ndjson").lines() {
            published(&ctx, line);
        }
        assert_eq!(ctx.published().len(), 39);
    }
}
