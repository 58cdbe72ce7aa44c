//! JSON from strangers: no name twice in an object, no deep nesting (T34).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

const MAX_DEPTH: usize = 16;

/// Parses an object. Two readers of `{"a":1,"a":2}` may see different values, so there is no such object here.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

struct Strict {
    /// How many more levels may open.
    depth: usize,
}

impl Strict {
    fn inner<E: Error>(&self) -> Result<Strict, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Strict { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.inner()?)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,1.5,true,null,"x"],"b":{"c":{}}}"#;
        let expected = json!({"a": [1, -2, 1.5, true, null, "x"], "b": {"c": {}}});
        assert_eq!(Value::Object(parse_object(text.as_bytes()).unwrap()), expected);
    }

    #[test]
    fn ambiguous_deep_and_broken_text_is_refused() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_object(nested(15).as_bytes()).is_ok(), "sixteen levels, the object itself being one");
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"b":1,"\u0062":2}}"#,
            &nested(16),
            &nested(100_000),
            "",
            "[]",
            "null",
            "{",
            r#"{"a":1} x"#,
            "\u{feff}{}",
        ] {
            assert!(parse_object(text.as_bytes()).is_err(), "{text:.40}");
        }
    }
}
