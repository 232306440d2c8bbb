//! Where two definitions say different things.

use serde_yaml::Value;

/// The places in which two values differ, at most so many: items of lists by
/// their names.
pub fn differences(one: &Value, other: &Value, most: usize) -> Vec<String> {
    let mut places = Vec::new();
    compare(one, other, "", most, &mut places);
    places
}

fn compare(one: &Value, other: &Value, place: &str, most: usize, places: &mut Vec<String>) {
    let below = |part: &str| if place.is_empty() { part.to_owned() } else { format!("{place}.{part}") };
    match (one, other) {
        _ if places.len() >= most => {}
        (Value::Mapping(one), Value::Mapping(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let null = &Value::Null;
                let (one, other) = (one.get(key).unwrap_or(null), other.get(key).unwrap_or(null));
                compare(one, other, &below(key.as_str().unwrap_or_default()), most, places);
            }
        }
        (Value::Sequence(one), Value::Sequence(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                let name = one.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
                compare(one, other, &below(&name), most, places);
            }
        }
        (one, other) if one != other => places.push(place.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_and_counted() {
        let value = |text: &str| serde_yaml::from_str::<Value>(text).unwrap();
        let one = value("a: 1\nl: [{name: x, v: 1}, {v: 2}]\nm: [1]\n");
        let other = value("l: [{name: x, v: 2}, {v: 3}]\nm: [1, 2]\nn: {o: 1}\n");
        assert_eq!(differences(&one, &other, 9), ["a", "l.x.v", "l.1.v", "m", "n"]);
        assert_eq!(differences(&one, &other, 2), ["a", "l.x.v"]);
        assert_eq!(differences(&one, &one, 9), [""; 0]);
    }
}
