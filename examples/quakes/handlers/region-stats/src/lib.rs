//! Counts earthquakes by region and keeps the strongest of each.
//!
//! The lesson: two ways to keep state. `count:REGION` is an increment, which never conflicts. `max:REGION` is a plain
//! read, compare and write: when two deliveries do it at once, the host runs one of them again on the new value.
//!
//! Records that it cannot read are none of its business; `validate` is the one that rejects them.

use serde::Deserialize;
use wasmill::{Context, State};

/// A longer region is not one, and would not fit the key of a state.
const REGION_BYTES_MAX: usize = 200;

/// What is read of a GeoJSON record of the earthquake catalogue.
#[derive(Deserialize)]
struct Record {
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    mag: Option<f64>,
    place: String,
}

#[wasmill::handler]
fn region_stats(ctx: Context) -> wasmill::Result {
    let Ok(Record { properties }) = ctx.message().json() else { return Ok(()) };
    let Some(region) = region_of(&properties.place) else { return Ok(()) };
    ctx.state().increment(&format!("count:{region}"), 1)?;
    if let Some(magnitude) = properties.mag {
        keep_largest(&ctx.state(), &format!("max:{region}"), magnitude)?;
    }
    Ok(())
}

/// What comes after the last comma, "CA" or "Alaska"; the whole place when there is no comma.
fn region_of(place: &str) -> Option<&str> {
    let region = place.rsplit(',').next()?.trim();
    (1..=REGION_BYTES_MAX).contains(&region.len()).then_some(region)
}

fn keep_largest(state: &State<'_>, key: &str, value: f64) -> wasmill::Result {
    let largest = state.get_json::<f64>(key)?;
    if largest.is_none_or(|largest| value > largest) {
        state.set_json(key, &value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill::Delivery;

    use super::*;

    fn deliver(ctx: &Context, data: &str) {
        assert_eq!(region_stats(ctx.with_delivery(Delivery::for_test("quakes", data))), Ok(()), "{data}");
    }

    #[test]
    fn the_region_is_what_comes_after_the_last_comma() {
        let long = format!("1km N of {}", "x".repeat(REGION_BYTES_MAX));
        for (place, region) in [
            ("4km W of Castaic, CA", Some("CA")),
            ("1km N of Ferndale, Humboldt County, California", Some("California")),
            ("Reykjanes Ridge", Some("Reykjanes Ridge")),
            ("somewhere,", None),
            ("", None),
            (&long, None),
        ] {
            assert_eq!(region_of(place), region, "{place}");
        }
    }

    #[test]
    fn the_strongest_stays_and_a_missing_magnitude_counts_too() {
        let ctx = Context::for_test();
        for magnitude in ["2.5", "4.1", "null", "3"] {
            deliver(&ctx, &format!(r#"{{"properties":{{"mag":{magnitude},"place":"5km E of Ridgecrest, CA"}}}}"#));
        }
        assert_eq!(ctx.state().get_int("count:CA"), Ok(4));
        assert_eq!(ctx.state().get_json("max:CA"), Ok(Some(4.1)));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let ctx = Context::for_test();
        for data in ["", "{", "{}", r#"{"properties":{"mag":"5.2","place":"Ridgecrest, CA"}}"#] {
            deliver(&ctx, data);
        }
        assert_eq!(ctx.state().list_keys("", None).map(|page| page.keys), Ok(Vec::new()));
    }

    #[test]
    fn the_real_records_are_counted() {
        let ctx = Context::for_test();
        for line in include_str!("../../../data/earthquakes.ndjson").lines() {
            deliver(&ctx, line);
        }
        assert_eq!(ctx.state().get_int("count:CA"), Ok(747));
        assert_eq!(ctx.state().get_int("count:Alaska"), Ok(311));
        assert_eq!(ctx.state().list_keys("count:", None).map(|page| page.keys.len()), Ok(74));
    }
}
