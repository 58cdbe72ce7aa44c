//! Every key there is: what the reader asks for when it reads the example with every key in it. So there is no second list, and
//! what is said here of a key is what the reader does.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use toml::de::DeTable;

use super::effect::{general, is_live};
use super::reader::{Asked, Kind, Source};
use super::{Environment, example, nearest, sections};

/// Every key, in the order of reading.
pub struct Catalogue(Vec<Key>);

pub struct Key {
    /// With `[]` behind the name of a list of tables, and `*` for a name of the user's own.
    pub path: String,
    pub asked: Asked,
    pub words: String,
}

impl Catalogue {
    /// Reads the example, and nothing else: of the files it names none is there, which does not matter.
    pub fn read() -> Self {
        // Each kind of credential has keys of its own; where it is not known, all of them are asked for.
        let text = example::with_every_key().replace("kind = \"workload-identity\"", "kind = \"\"");
        let (document, _) = DeTable::parse_recoverable(&text);
        let environment = Environment::default();
        let source = Source::new(&text, Path::new(""), &environment);
        let root = source.root(&document);
        let _ = sections::read(&root);
        let words = example::words();
        let mut keys: Vec<Key> = Vec::new();
        for (path, asked) in source.asked() {
            let path = general(&path);
            if keys.iter().any(|key| key.path == path) {
                continue;
            }
            let default = asked.default.filter(|_| !OF_OTHER_KEYS.contains(&path.as_str()));
            let words = words_of(&path, &words);
            keys.push(Key { path, asked: Asked { default, ..asked }, words });
        }
        Self(keys)
    }

    pub fn keys(&self) -> &[Key] {
        &self.0
    }

    /// What is to be said of a key or section; `[]` or the number of a table may be left out.
    ///
    /// # Errors
    /// In words: there is no such key, and what may be meant.
    pub fn explain(&self, name: &str) -> Result<String, String> {
        let plain = |path: &str| path.replace("[]", "");
        let asked = without_numbers(name);
        let found = self.0.iter().find(|key| plain(&key.path) == asked).or_else(|| {
            let named = |key: &&Key| key.path.contains('*') && fits(&plain(&key.path), &asked);
            self.0.iter().find(named)
        });
        let Some(key) = found else {
            let names: Vec<String> = self.0.iter().map(|key| plain(&key.path)).collect();
            let meant = nearest(&asked, names.iter().map(String::as_str));
            let meant = meant.map(|meant| format!(" Did you mean {meant}?")).unwrap_or_default();
            return Err(format!("there is no such key.{meant} `sallyport config example` has all of them"));
        };
        Ok(self.text(key))
    }

    fn text(&self, key: &Key) -> String {
        let mut about = vec![key.asked.kind.words().to_owned()];
        about.extend(key.asked.range.as_ref().map(|range| format!("{} to {}", range.start(), range.end())));
        if !key.asked.words.is_empty() {
            about.push(format!("one of {}", key.asked.words.join(", ")));
        }
        about.extend(key.asked.default.as_ref().map(|default| format!("default {default}")));
        if key.asked.required {
            about.push("required".to_owned());
        }
        if !key.asked.kind.is_section() && !key.path.contains(['[', '*']) {
            about.push(format!("environment {}", Environment::name_of(&key.path)));
        }
        let mut text = format!("{}\n  {}\n", key.path, about.join(" · "));
        if !key.asked.kind.is_section() {
            text += if is_live(&key.path) { LIVE } else { AT_START };
        }
        if !key.words.is_empty() {
            text += &format!("\n{}\n", wrapped(&key.words));
        }
        let below: Vec<_> = self.below(&key.path).map(|key| key.path.as_str()).collect();
        if !below.is_empty() {
            text += &format!("\n  keys: {}\n", below.join(", "));
        }
        text
    }

    /// A JSON Schema (draft 2020-12) of the file, for editors. Required is only what the environment cannot give.
    pub fn schema(&self) -> Value {
        let mut schema = self.table("");
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        schema["title"] = "The configuration of Sallyport".into();
        schema
    }

    fn table(&self, path: &str) -> Value {
        let (mut properties, mut required, mut others) = (Map::new(), Vec::new(), Value::Bool(false));
        for key in self.below(path) {
            let name = key.path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
            if name == "*" {
                others = self.value(key);
                continue;
            }
            properties.insert(name.to_owned(), self.value(key));
            if key.asked.required && path.contains('[') {
                required.push(name);
            }
        }
        let mut table = json!({"type": "object", "properties": properties, "additionalProperties": others});
        if !required.is_empty() {
            table["required"] = json!(required);
        }
        table
    }

    fn value(&self, key: &Key) -> Value {
        let default = key.asked.default.as_deref();
        let mut value = match key.asked.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Number => json!({"type": "integer"}),
            Kind::List => json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
            Kind::Table => self.table(&key.path),
            Kind::Tables => json!({"type": "array", "items": self.table(&key.path)}),
        };
        if let Some(range) = &key.asked.range {
            value["minimum"] = (*range.start()).into();
            value["maximum"] = (*range.end()).into();
        }
        if !key.asked.words.is_empty() {
            value["enum"] = json!(key.asked.words);
        }
        if !key.words.is_empty() {
            value["description"] = key.words.as_str().into();
        }
        let default = default.and_then(|default| match key.asked.kind {
            Kind::Text => Some(Value::from(default)),
            _ => serde_json::from_str(default).ok(),
        });
        if let Some(default) = default {
            value["default"] = default;
        }
        value
    }

    /// The keys of one table.
    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a Key> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        self.0.iter().filter(move |key| key.path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('.')))
    }
}

fn without_numbers(name: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for letter in name.trim().chars() {
        match letter {
            '[' => inside = true,
            ']' => inside = false,
            letter if !inside => plain.push(letter),
            _ => {}
        }
    }
    plain
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), path.split('.').collect());
    pattern.len() == path.len() && pattern.iter().zip(path).all(|(wanted, part)| *wanted == "*" || *wanted == part)
}

/// Of the key itself; else of the paragraph of its section that speaks of it; else of what it is in.
fn words_of(path: &str, words: &BTreeMap<String, String>) -> String {
    let own = words.get(path);
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        return own.clone();
    }
    let Some((section, name)) = path.rsplit_once('.') else { return String::new() };
    let within = |at: &str| at == section || at.starts_with(&format!("{section}."));
    let about =
        |text: &str| text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == name);
    let spoken = words.iter().find(|(at, text)| own.is_none() && within(at) && about(text));
    spoken.map_or_else(|| words_of(section, words), |(_, text)| text.clone())
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if line.chars().count() + word.chars().count() < WIDTH {
            *line += " ";
            *line += word;
        } else {
            lines.push(format!("  {word}"));
        }
    }
    lines.join("\n")
}

/// What these are without being set, other keys say.
const OF_OTHER_KEYS: [&str; 3] = ["consent.server_name", "entra.authority", "upstream[].scope"];
const LIVE: &str = "  another value takes effect at a reload (SIGHUP)\n";
const AT_START: &str = "  another value takes effect at the next start\n";
const WIDTH: usize = 100;

#[cfg(test)]
mod tests {
    use toml::{Table, Value as Toml};

    use super::*;
    use crate::documented::{cells, names};

    #[test]
    fn every_key_has_words() {
        let catalogue = Catalogue::read();
        let paths: Vec<_> = catalogue.keys().iter().map(|key| key.path.as_str()).collect();
        assert!(paths.len() > 90, "{paths:#?}");
        for path in [
            "public_url",
            "listen.tls.client_ca",
            "entra.credential.secret_file",
            "store.sentinel_password_file",
            "upstream[].headers.*.file",
            "upstream[].tool_rule[].who",
            "clients.preregistered[].redirect_uris",
            "limits.burst",
        ] {
            assert!(paths.contains(&path), "{path} is not in {paths:#?}");
        }
        for key in catalogue.keys() {
            assert!(!key.words.is_empty() || key.asked.kind.is_section(), "{} has no words", key.path);
        }
    }

    #[test]
    fn a_key_is_explained_by_what_the_reader_knows() {
        let catalogue = Catalogue::read();
        let explained = "streams.keep_alive\n  text · default 15s · environment SALLYPORT_STREAMS__KEEP_ALIVE\n  another value takes effect at a reload (SIGHUP)\n\n  After this long \
                         without an event the client is sent a comment, so that no proxy between cuts the\n  stream. 1s to 5m.\n";
        assert_eq!(catalogue.explain("streams.keep_alive").unwrap(), explained);
        for (key, about, words) in [
            ("upstream[3].http", "text · one of 1.1, 2, auto · default 1.1\n", "The version of HTTP to the servers"),
            (
                "limits.streams_per_session",
                "whole number · 1 to 10000 · default 32 · environment SALLYPORT_LIMITS__STREAMS_PER_SESSION\n",
                "Event streams that are open at once",
            ),
            ("entra.credential.endpoint", "text · environment", "On an Azure machine, by its managed identity"),
            ("upstream.headers.x-functions-key.file", "text · required\n", "each from a file with one line"),
            ("clients.preregistered.redirect_uris", "list of texts · required\n", "A client that you know beforehand"),
            ("consent.server_name", "text · environment", "What users call this installation"),
            ("listen.tls.client_ca", "text · environment", "every client must present a certificate"),
            ("store.sentinel_password_file", "text · environment", "With sentinels that have a password of their own"),
        ] {
            let explained = catalogue.explain(key).unwrap();
            let on_one_line = explained.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(explained.contains(about) && on_one_line.contains(words), "{explained}");
        }
        assert!(catalogue.explain("upstream").unwrap().contains("keys: upstream[].name, "));
        let unknown = catalogue.explain("listen.adress").unwrap_err();
        assert!(unknown.contains("Did you mean listen.address?"), "{unknown}");
        assert!(!catalogue.explain("nothing like it at all").unwrap_err().contains("Did you mean"));
    }

    /// The keys of docs/configuration.md by their paths, each with what its row has as defaults, in backticks, and when it says
    /// that another value takes effect.
    fn documented() -> Vec<(String, Option<String>, String)> {
        let mut found = Vec::new();
        let (mut section, mut head) = (None, String::new());
        for line in crate::documented::read("configuration.md").lines() {
            if let Some(heading) = line.strip_prefix("##") {
                // `[[upstream.tool_rule]]` is within upstream[].
                let name = names(heading).concat();
                let list = if name.starts_with("[[") { "[]" } else { "" };
                let plain = name.trim_matches(['[', ']']).replace("upstream.", "upstream[].");
                section = match heading.trim_matches(['#', ' ']) {
                    "Top level" => Some(String::new()),
                    _ if name.starts_with('[') => Some(format!("{plain}{list}.")),
                    _ => None,
                };
            }
            let Some(section) = section.as_ref().filter(|_| line.starts_with('|')) else {
                head.clear();
                continue;
            };
            if head.is_empty() {
                head = line.to_owned();
            }
            if !head.starts_with("| key | default | change |") || !line.starts_with("| `") {
                continue;
            }
            let cells = cells(line);
            let defaults = names(&cells[1]);
            for (at, key) in names(&cells[0]).iter().enumerate() {
                found.push((
                    format!("{section}{}", key.replace("<name>", "*")),
                    defaults.get(at).cloned(),
                    cells[2].clone(),
                ));
            }
        }
        found
    }

    #[test]
    fn every_key_is_documented_with_its_default_and_with_when_it_takes_effect() {
        let documented = documented();
        let catalogue = Catalogue::read();
        let keys: Vec<&Key> = catalogue.keys().iter().filter(|key| !key.asked.kind.is_section()).collect();
        for key in &keys {
            let rows: Vec<_> = documented.iter().filter(|(path, ..)| *path == key.path).collect();
            let [(_, default, change)] = rows[..] else {
                panic!("{} stands {} times in docs/configuration.md", key.path, rows.len())
            };
            if let Some(wanted) = &key.asked.default {
                assert_eq!(default.as_ref(), Some(wanted), "the default of {}", key.path);
            }
            assert_eq!(change, if is_live(&key.path) { "live" } else { "start" }, "{}", key.path);
        }
        for (path, ..) in &documented {
            assert!(keys.iter().any(|key| key.path == *path), "docs/configuration.md has {path}, which there is not");
        }
    }

    /// Whether `value` is as the schema has it: as much of JSON Schema as ours uses.
    fn fits_schema(value: &Toml, schema: &Value) -> bool {
        match (schema["type"].as_str().unwrap(), value) {
            ("string", Toml::String(text)) => {
                schema["enum"].as_array().is_none_or(|words| words.iter().any(|word| word == text))
            }
            ("boolean", Toml::Boolean(_)) => true,
            ("integer", Toml::Integer(number)) => {
                *number >= schema["minimum"].as_i64().unwrap() && *number <= schema["maximum"].as_i64().unwrap()
            }
            ("array", Toml::Array(items)) => items.iter().all(|item| fits_schema(item, &schema["items"])),
            ("object", Toml::Table(table)) => {
                let required = schema["required"].as_array().into_iter().flatten();
                let of = |name: &str| match &schema["properties"][name] {
                    Value::Null => Some(&schema["additionalProperties"]).filter(|others| others.is_object()),
                    own => Some(own),
                };
                required.clone().all(|name| table.contains_key(name.as_str().unwrap()))
                    && table.iter().all(|(name, value)| of(name).is_some_and(|schema| fits_schema(value, schema)))
            }
            _ => false,
        }
    }

    #[test]
    fn the_schema_takes_the_example_with_every_key_and_nothing_unknown() {
        let schema = Catalogue::read().schema();
        let fits = |text: &str| fits_schema(&Toml::Table(text.parse::<Table>().unwrap()), &schema);
        assert!(fits(example::EXAMPLE));
        let everything = example::with_every_key();
        assert!(fits(&everything));
        for (from, to) in [
            ("public_url", "publicurl"),
            ("registration = true", "registration = \"yes\""),
            ("level = \"info\"", "level = \"chatty\""),
            ("burst = 200", "burst = 0"),
            ("name = \"graph\"", "title = \"graph\""),
            ("{ file = \"function-key\" }", "{ value = \"function-key\" }"),
            ("servers = [", "servers = [1, "),
        ] {
            let spoiled = everything.replacen(from, to, 1);
            assert_ne!(spoiled, everything, "{from}");
            // Without a name there is one key too many too.
            let parsed = spoiled.parse::<Table>();
            assert!(parsed.is_err() || !fits(&spoiled), "{to}");
        }
        assert_eq!(schema["properties"]["streams"]["properties"]["keep_alive"]["default"], "15s");
        assert_eq!(schema["properties"]["limits"]["properties"]["burst"]["default"], 200);
        assert_eq!(schema["properties"]["upstream"]["items"]["required"], json!(["name", "path", "servers"]));
    }
}
