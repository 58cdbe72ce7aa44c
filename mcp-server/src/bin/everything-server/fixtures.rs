//! What never changes, read from `fixtures.json`: the lists, fixed answers, and what is asked of a client or user.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rmcp::model::{
    CallToolResult, InputRequests, Prompt, PromptMessage, Resource, ResourceContents, ResourceTemplate, Tool,
};
use serde::Deserialize;
use serde_json::Value;

/// The one set there is. A mistake in the file ends the program at the first use; the suite would find it anyway.
pub static FIXTURES: LazyLock<Fixtures> =
    LazyLock::new(|| serde_json::from_str(include_str!("fixtures.json")).expect("the fixtures are in good form"));

#[derive(Deserialize)]
pub struct Fixtures {
    pub tools: Vec<Tool>,
    /// By tool: what it always answers.
    pub results: BTreeMap<String, CallToolResult>,
    /// By tool: the parameters of `elicitation/create`.
    pub elicitations: BTreeMap<String, Value>,
    /// By a name of ours: requests that a client must answer before it gets its result.
    inputs: BTreeMap<String, InputRequests>,
    /// By tool or prompt: the names of its inputs, one after the other.
    rounds: BTreeMap<String, Vec<String>>,
    pub prompts: Vec<Prompt>,
    /// By prompt. `{argument}` stands for the value of an argument.
    messages: BTreeMap<String, Value>,
    pub resources: Vec<Resource>,
    pub templates: Vec<ResourceTemplate>,
    /// By URI.
    contents: BTreeMap<String, ResourceContents>,
}

impl Fixtures {
    /// What a tool or prompt asks the client for, round by round.
    pub fn rounds(&self, name: &str) -> Option<Vec<&InputRequests>> {
        let names = self.rounds.get(name)?;
        Some(names.iter().map(|name| self.inputs(name)).collect())
    }

    pub fn inputs(&self, name: &str) -> &InputRequests {
        &self.inputs[name]
    }

    /// A prompt's messages with its arguments filled in.
    pub fn messages(&self, prompt: &str, arguments: &serde_json::Map<String, Value>) -> Option<Vec<PromptMessage>> {
        let messages = filled(self.messages.get(prompt)?, arguments);
        Some(serde_json::from_value(messages).expect("the fixtures are in good form"))
    }

    /// A resource's contents; what the template describes is made for the id that is asked for.
    pub fn contents(&self, uri: &str) -> Option<ResourceContents> {
        if let Some(contents) = self.contents.get(uri) {
            return Some(contents.clone());
        }
        let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
        let text = serde_json::json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
        Some(ResourceContents::text(text.to_string(), uri).with_mime_type("application/json"))
    }
}

fn filled(value: &Value, arguments: &serde_json::Map<String, Value>) -> Value {
    match value {
        Value::String(text) => Value::String(arguments.iter().fold(text.clone(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default())
        })),
        Value::Array(items) => items.iter().map(|item| filled(item, arguments)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), filled(value, arguments))).collect(),
        other => other.clone(),
    }
}
