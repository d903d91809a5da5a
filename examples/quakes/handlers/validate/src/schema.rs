//! What a record of the catalogue must be. GeoJSON as the U.S. Geological Survey describes it:
//! <https://earthquake.usgs.gov/earthquakes/feed/v1.0/geojson.php>.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

const MAGNITUDE: RangeInclusive<f64> = -2.0..=10.0;
const LONGITUDE_DEGREES: RangeInclusive<f64> = -180.0..=180.0;
const LATITUDE_DEGREES: RangeInclusive<f64> = -90.0..=90.0;
/// Above sea level is negative.
const DEPTH_KM: RangeInclusive<f64> = -100.0..=1_000.0;
/// What was found is shown up to here.
const FOUND_CHARS_MAX: usize = 60;

/// Check a record and give its id.
///
/// # Errors
/// The reason: which field, what was found, what it must be.
pub(crate) fn check(data: &[u8]) -> Result<String, String> {
    let record: Value = serde_json::from_slice(data).map_err(|problem| format!("not JSON: {problem}"))?;
    let record = record.as_object().ok_or_else(|| wrong("the record", Some(&record), "an object"))?;
    if record.get("type").and_then(Value::as_str) != Some("Feature") {
        return Err(wrong("type", record.get("type"), "\"Feature\""));
    }
    let id = text(record, "id", "id")?;
    check_properties(object(record, "properties")?)?;
    check_geometry(object(record, "geometry")?)?;
    Ok(id.to_owned())
}

fn check_properties(properties: &Map<String, Value>) -> Result<(), String> {
    if properties.get("mag") != Some(&Value::Null) {
        number("properties.mag", properties.get("mag"), &MAGNITUDE)?;
    }
    text(properties, "place", "properties.place")?;
    if !properties.get("time").is_some_and(Value::is_i64) {
        return Err(wrong("properties.time", properties.get("time"), "whole milliseconds since 1970"));
    }
    Ok(())
}

fn check_geometry(geometry: &Map<String, Value>) -> Result<(), String> {
    if geometry.get("type").and_then(Value::as_str) != Some("Point") {
        return Err(wrong("geometry.type", geometry.get("type"), "\"Point\""));
    }
    let found = geometry.get("coordinates");
    let Some([longitude, latitude, depth]) = found.and_then(Value::as_array).map(Vec::as_slice) else {
        return Err(wrong("geometry.coordinates", found, "an array of longitude, latitude and depth"));
    };
    number("geometry.coordinates[0] (longitude)", Some(longitude), &LONGITUDE_DEGREES)?;
    number("geometry.coordinates[1] (latitude)", Some(latitude), &LATITUDE_DEGREES)?;
    number("geometry.coordinates[2] (depth)", Some(depth), &DEPTH_KM)
}

fn object<'a>(parent: &'a Map<String, Value>, field: &str) -> Result<&'a Map<String, Value>, String> {
    let found = parent.get(field);
    found.and_then(Value::as_object).ok_or_else(|| wrong(field, found, "an object"))
}

fn text<'a>(parent: &'a Map<String, Value>, field: &str, path: &str) -> Result<&'a str, String> {
    let found = parent.get(field);
    let text = found.and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| wrong(path, found, "a text that is not empty"))
}

fn number(path: &str, found: Option<&Value>, range: &RangeInclusive<f64>) -> Result<(), String> {
    if found.and_then(Value::as_f64).is_some_and(|number| range.contains(&number)) {
        return Ok(());
    }
    Err(wrong(path, found, &format!("a number from {} to {}", range.start(), range.end())))
}

fn wrong(path: &str, found: Option<&Value>, expected: &str) -> String {
    let Some(found) = found else { return format!("{path} is missing; it must be {expected}") };
    let found = found.to_string();
    let shown: String = found.chars().take(FOUND_CHARS_MAX).collect();
    let more = if shown.len() < found.len() { " ..." } else { "" };
    format!("{path} is {shown}{more}; it must be {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "type": "Feature",
            "id": "ci1",
            "properties": { "mag": 2.0, "place": "4km W of Castaic, CA", "time": 1_517_966_773_840_u64 },
            "geometry": { "type": "Point", "coordinates": [-118.6, 34.4, 26.4] },
        })
    }

    fn reason(pointer: &str, value: Value) -> String {
        let mut record = good();
        *record.pointer_mut(pointer).expect("a field of the record") = value;
        check(record.to_string().as_bytes()).expect_err(pointer)
    }

    #[test]
    fn a_good_record_gives_its_id() {
        assert_eq!(check(good().to_string().as_bytes()), Ok("ci1".to_owned()));
        let mut record = good();
        record["properties"]["mag"] = Value::Null;
        assert_eq!(check(record.to_string().as_bytes()), Ok("ci1".to_owned()));
    }

    #[test]
    fn reasons_name_the_field_what_was_found_and_what_it_must_be() {
        for (pointer, value, expected) in [
            ("/type", json!("Quake"), "type is \"Quake\"; it must be \"Feature\""),
            ("/id", json!(" "), "id is \" \"; it must be a text that is not empty"),
            ("/properties", json!([]), "properties is []; it must be an object"),
            ("/properties/mag", json!("5.2"), "properties.mag is \"5.2\"; it must be a number from -2 to 10"),
            ("/properties/mag", json!(52), "properties.mag is 52; it must be a number from -2 to 10"),
            ("/properties/place", Value::Null, "properties.place is null; it must be a text that is not empty"),
            ("/properties/time", json!(1.5), "properties.time is 1.5; it must be whole milliseconds since 1970"),
            ("/geometry", Value::Null, "geometry is null; it must be an object"),
            ("/geometry/type", json!("Line"), "geometry.type is \"Line\"; it must be \"Point\""),
            (
                "/geometry/coordinates/1",
                json!(123),
                "geometry.coordinates[1] (latitude) is 123; it must be a number from -90 to 90",
            ),
        ] {
            assert_eq!(reason(pointer, value), expected);
        }
    }

    #[test]
    fn what_is_missing_is_called_missing() {
        let mut record = good();
        record["properties"].as_object_mut().expect("an object").remove("mag");
        let reason = check(record.to_string().as_bytes()).expect_err("no magnitude");
        assert_eq!(reason, "properties.mag is missing; it must be a number from -2 to 10");
        assert!(check(b"\xff{").expect_err("not JSON").starts_with("not JSON: "));
    }

    #[test]
    fn a_long_find_is_cut() {
        let reason = reason("/properties", json!("é".repeat(200)));
        assert!(reason.contains(" ...; it must be an object") && reason.len() < 200, "{reason}");
    }
}
