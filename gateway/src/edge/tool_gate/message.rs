//! What a body calls: JSON-RPC read so that no other reader can see another call in it (T29, T34).
//!
//! Each name once, and none that differs from one of JSON-RPC's or MCP's by case alone: there are parsers that take `Method` for
//! `method`, the last of them winning. What does not decide anything is skipped, not kept.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The messages of one body: a batch (MCP 2025-03-26), or a single one.
#[derive(Debug)]
pub struct Messages {
    all: Vec<Message>,
    is_batch: bool,
}

/// A request, a notification, or an answer of the client's.
#[derive(Debug, Default)]
pub struct Message {
    /// A string, a number or null; `None` for a notification.
    pub id: Option<Value>,
    /// `None` for an answer.
    pub method: Option<String>,
    /// Of `params`.
    pub name: Option<String>,
    /// Likewise.
    pub uri: Option<String>,
}

impl Messages {
    /// `None` when the text can be read in more than one way, or in none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let messages = deserializer.deserialize_any(Body).ok()?;
        deserializer.end().ok()?;
        // A call that names no tool, or one by a name that some reader may trim or cut, is not clear.
        let is_clear = |message: &Message| {
            message.method.as_deref() != Some(CALL) || message.name.as_deref().is_some_and(is_clear_name)
        };
        messages.all.iter().all(is_clear).then_some(messages)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.all.iter()
    }

    /// The message, unless it is a batch.
    pub fn only(&self) -> Option<&Message> {
        self.all.first().filter(|_| !self.is_batch)
    }
}

impl Message {
    /// The tool that it calls.
    pub fn tool(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.method.as_deref() == Some(CALL))
    }
}

fn is_clear_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains(char::is_control)
}

/// Names that one object had, in the fold of case that the most generous parsers use.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    /// `known` are those that mean something here.
    fn take<E: Error>(&mut self, name: &str, known: &[&str]) -> Result<(), E> {
        let folded = fold(name);
        if known.contains(&folded.as_str()) && folded != name {
            return Err(E::custom("a name in another case"));
        }
        if self.0.insert(folded) { Ok(()) } else { Err(E::custom("a name is there twice")) }
    }
}

/// Beside lower case: U+017F and U+212A, which Unicode folds into `s` and `k`.
fn fold(name: &str) -> String {
    let fold = |letter: char| if letter == '\u{17f}' { 's' } else { letter };
    name.chars().flat_map(char::to_lowercase).map(fold).collect()
}

struct Body;

impl<'de> Visitor<'de> for Body {
    type Value = Messages;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON-RPC message, or a batch of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Messages, A::Error> {
        Ok(Messages { all: vec![OneMessage.visit_map(entries)?], is_batch: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Messages, A::Error> {
        let mut all = Vec::new();
        while let Some(message) = items.next_element_seed(OneMessage)? {
            if all.len() == LONGEST_BATCH {
                return Err(A::Error::custom("the batch is too long"));
            }
            all.push(message);
        }
        if all.is_empty() { Err(A::Error::custom("an empty batch")) } else { Ok(Messages { all, is_batch: true }) }
    }
}

struct OneMessage;

impl<'de> DeserializeSeed<'de> for OneMessage {
    type Value = Message;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Message, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneMessage {
    type Value = Message;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Message, A::Error> {
        let (mut names, mut message) = (Names::default(), Message::default());
        while let Some(name) = entries.next_key::<String>()? {
            names.take(&name, &["jsonrpc", "id", "method", "params", "result", "error"])?;
            match name.as_str() {
                "id" => message.id = Some(entries.next_value_seed(Id)?),
                "method" => message.method = Some(entries.next_value()?),
                "params" => (message.name, message.uri) = entries.next_value_seed(Params)?,
                _ => _ = entries.next_value::<IgnoredAny>()?,
            }
        }
        Ok(message)
    }
}

/// `name` and `uri`. By position, which JSON-RPC knows and MCP does not, there are none.
struct Params;

impl<'de> DeserializeSeed<'de> for Params {
    type Value = (Option<String>, Option<String>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Params {
    type Value = (Option<String>, Option<String>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("parameters by name")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let (mut names, mut name, mut uri) = (Names::default(), None, None);
        while let Some(key) = entries.next_key::<String>()? {
            names.take(&key, &["name", "uri", "arguments", "_meta"])?;
            match key.as_str() {
                "name" => name = Some(entries.next_value()?),
                "uri" => uri = Some(entries.next_value()?),
                _ => _ = entries.next_value::<IgnoredAny>()?,
            }
        }
        Ok((name, uri))
    }
}

/// Of a length that can be sent back.
struct Id;

impl<'de> DeserializeSeed<'de> for Id {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Id {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, a number or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        if text.len() > LONGEST_ID { Err(E::custom("the id is too long")) } else { Ok(text.into()) }
    }
}

const CALL: &str = "tools/call";
const LONGEST_BATCH: usize = 100;
/// Bytes.
const LONGEST_ID: usize = 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools(text: &str) -> Option<Vec<Option<String>>> {
        Some(Messages::parse(text.as_bytes())?.iter().map(|message| message.tool().map(str::to_owned)).collect())
    }

    #[test]
    fn the_tools_of_a_body_are_found_however_it_is_written() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":1,"a":2}}}"#, "x"),
            (r#"{"params":{"arguments":{"name":"y"},"name":"x"},"method":"tools/call"}"#, "x"),
            (r#"{"m\u0065thod":"tools\u002fcall","p\u0061rams":{"n\u0061me":"\u0078"}}"#, "x"),
            (" {\n\"method\" : \"tools/call\" ,\t\"params\":{\"name\":\"x\"}}\r\n", "x"),
            (r#"{"method":"tools/call","params":{"name":"gr\u00f6\u00dfe \ud83d\ude00"}}"#, "größe 😀"),
        ] {
            assert_eq!(tools(text), Some(vec![Some(expected.to_owned())]), "{text}");
        }
        for text in [
            r#"{"method":"tools/list"}"#,
            r#"{"method":"prompts/get","params":{"name":"x"}}"#,
            r#"{"id":1,"result":{"method":"tools/call","params":{"name":"x"}}}"#,
            r#"{"method":"notifications/initialized","params":null}"#,
            "{}",
        ] {
            assert_eq!(tools(text), Some(vec![None]), "{text}");
        }
        let batch = r#"[{"method":"ping"},{"method":"tools/call","params":{"name":"x"}}]"#;
        assert_eq!(tools(batch), Some(vec![None, Some("x".to_owned())]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for text in [
            "",
            "null",
            "\"tools/call\"",
            "{",
            "\u{feff}{}",
            "{}{}",
            "{} x",
            "{'method':'ping'}",
            r#"{"method":"ping",}"#,
            r#"{"method":"ping"/**/}"#,
            r#"{"method":"ping","method":"tools/call","params":{"name":"x"}}"#,
            r#"{"method":"ping","m\u0065thod":"tools/call","params":{"name":"x"}}"#,
            r#"{"method":"ping","Method":"tools/call","params":{"name":"x"}}"#,
            r#"{"METHOD":"tools/call","params":{"name":"x"}}"#,
            r#"{"method":"tools/call","params":{"name":"y"},"Params":{"name":"x"}}"#,
            "{\"method\":\"tools/call\",\"param\u{17f}\":{\"name\":\"x\"}}",
            r#"{"method":"tools/call","params":{"name":"y","name":"x"}}"#,
            r#"{"method":"tools/call","params":{"name":"y","NAME":"x"}}"#,
            r#"{"method":"tools/call","params":["x"]}"#,
            r#"{"method":"tools/call","params":"x"}"#,
            r#"{"method":"tools/call","params":{}}"#,
            r#"{"method":"tools/call"}"#,
            r#"{"method":"tools/call","params":{"name":null}}"#,
            r#"{"method":"tools/call","params":{"name":["x"]}}"#,
            r#"{"method":"tools/call","params":{"name":""}}"#,
            r#"{"method":"tools/call","params":{"name":" x"}}"#,
            r#"{"method":"tools/call","params":{"name":"x\u0000y"}}"#,
            r#"{"method":"tools/call","params":{"name":"\ud800"}}"#,
            r#"{"method":["tools/call"],"params":{"name":"x"}}"#,
            r#"{"method":null}"#,
            r#"{"id":{"a":1},"method":"ping"}"#,
            r#"{"id":true,"method":"ping"}"#,
            "[]",
            r#"[[{"method":"ping"}]]"#,
            r#"[{"method":"ping"},1]"#,
            r#"[{"method":"ping"},{"method":"tools/call"}]"#,
            &format!("[{}]", vec!["{}"; 101].join(",")),
            &format!(r#"{{"id":"{}"}}"#, "x".repeat(1025)),
        ] {
            assert!(Messages::parse(text.as_bytes()).is_none(), "{text:.80}");
        }
        assert!(Messages::parse(b"{\"method\":\"ping\xff\"}").is_none());
        assert!(Messages::parse(b"{\"method\":\"ping\",\"params\":{\"arguments\":\"\xff\"}}").is_none());
    }

    #[test]
    fn an_id_comes_back_as_it_was() {
        for id in [json!(7), json!(-7), json!(1.5), json!("a\u{0}b"), Value::Null] {
            let text = json!({"id": id, "method": "ping"}).to_string();
            assert_eq!(Messages::parse(text.as_bytes()).unwrap().only().unwrap().id, Some(id));
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let deep =
            format!(r#"{{"method":"ping","params":{{"arguments":{}{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(tools(&deep), Some(vec![None]));
    }
}
