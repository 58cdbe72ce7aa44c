//! What it takes to repeat a run.

use std::fmt::{Display, Formatter, Result};

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Options by name, in the order in which they were added. No secret is among them.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<(&'static str, Value)>);

impl Settings {
    pub fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }
}

/// On one line.
impl Display for Settings {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { ", " };
            match value {
                Value::String(text) => write!(formatter, "{between}{name} {text}")?,
                value => write!(formatter, "{between}{name} {value}")?,
            }
        }
        Ok(())
    }
}

/// As an object.
impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
