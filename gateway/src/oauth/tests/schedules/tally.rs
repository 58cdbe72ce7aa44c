//! What was tried, so that a run that tries nothing is seen.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Default)]
pub struct Tally {
    pub schedules: u64,
    pub steps: u64,
    /// By what was done and how it was answered.
    pub deeds: BTreeMap<(&'static str, String), u64>,
    pub store: BTreeMap<&'static str, u64>,
    pub moves: BTreeMap<&'static str, u64>,
    /// Digests of who did what in which order, and was told what.
    pub histories: HashSet<u64>,
    /// Deeds that were under way with others of the same session.
    pub crossed: u64,
    /// The longest list of worlds that a session was in.
    pub worlds: usize,
    history: DefaultHasher,
}

impl Tally {
    pub fn deed(&mut self, name: &'static str, answer: String) {
        (name, &answer).hash(&mut self.history);
        *self.deeds.entry((name, answer)).or_default() += 1;
    }

    pub fn moved(&mut self, name: &'static str) {
        *self.moves.entry(name).or_default() += 1;
    }

    pub fn ended(&mut self) {
        self.schedules += 1;
        let history = std::mem::take(&mut self.history);
        self.histories.insert(history.finish());
    }

    pub fn add(&mut self, other: Tally) {
        self.schedules += other.schedules;
        self.steps += other.steps;
        self.crossed += other.crossed;
        self.worlds = self.worlds.max(other.worlds);
        self.histories.extend(other.histories);
        other.deeds.into_iter().for_each(|(key, count)| *self.deeds.entry(key).or_default() += count);
        other.store.into_iter().for_each(|(key, count)| *self.store.entry(key).or_default() += count);
        other.moves.into_iter().for_each(|(key, count)| *self.moves.entry(key).or_default() += count);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, steps, crossed, worlds, .. } = self;
        let (deeds, histories) = (self.deeds.values().sum::<u64>(), self.histories.len());
        writeln!(formatter, "{schedules} schedules of {steps} steps, {histories} of them different from outside")?;
        writeln!(
            formatter,
            "{deeds} deeds, {crossed} of them beside others of their session; {worlds} worlds at most"
        )?;
        for ((name, answer), count) in &self.deeds {
            writeln!(formatter, "  {name:<29} {answer:<10} {count:>10}")?;
        }
        writeln!(formatter, "questions to the store:")?;
        for (name, count) in &self.store {
            writeln!(formatter, "  {name:<40} {count:>10}")?;
        }
        writeln!(formatter, "what the schedules did:")?;
        for (name, count) in &self.moves {
            writeln!(formatter, "  {name:<40} {count:>10}")?;
        }
        Ok(())
    }
}
