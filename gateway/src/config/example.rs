//! The example that people get, in which every key is documented: what `config example` prints, and what `config explain` and
//! the schema know of a key in words.

use std::collections::BTreeMap;

/// `deploy/sallyport.example.toml`.
pub const EXAMPLE: &str = include_str!("../../../deploy/sallyport.example.toml");

/// The example with every key that may be left out: `#key`, where prose has a space.
pub fn with_every_key() -> String {
    EXAMPLE.lines().map(|line| uncommented(line).to_owned() + "\n").collect()
}

/// The words of each key and section, by its path, with `[]` behind the name of a list of tables.
pub fn words() -> BTreeMap<String, String> {
    let mut reading = Reading::default();
    EXAMPLE.lines().for_each(|line| reading.line(line));
    reading.words
}

#[derive(Default)]
struct Reading {
    words: BTreeMap<String, String>,
    section: String,
    /// The comment so far that belongs to what comes next.
    comment: String,
    /// The last comment belongs to the keys below it too.
    last: String,
    /// Keys stood inside of the comment: the next line of it begins another one.
    is_list: bool,
}

impl Reading {
    fn line(&mut self, line: &str) {
        if let Some(key) = line.strip_prefix("#   ") {
            // One of several ways to fill a section.
            self.is_list = true;
            let (key, words) = (name(key), self.comment.clone());
            return self.note(key, &words);
        }
        if let Some(prose) = line.strip_prefix("# ") {
            if self.is_list {
                self.comment.clear();
            }
            self.is_list = false;
            self.comment += if self.comment.is_empty() { "" } else { " " };
            self.comment += prose;
            return;
        }
        let line = uncommented(line);
        if line.is_empty() || line == "#" {
            self.paragraph();
            self.last.clear();
        } else if let Some(header) = line.strip_prefix('[') {
            let is_list = header.starts_with('[');
            let header = header.trim_matches(['[', ']']);
            let (parent, own) = header.rsplit_once('.').unwrap_or(("", header));
            // The one section that may be repeated and has others in it.
            let parent = if parent == "upstream" { "upstream[]" } else { parent };
            let dot = if parent.is_empty() { "" } else { "." };
            self.section = format!("{parent}{dot}{own}{}", if is_list { "[]" } else { "" });
            let words = std::mem::take(&mut self.comment);
            self.words.entry(self.section.clone()).or_insert(words);
            self.last.clear();
        } else {
            if !self.comment.is_empty() {
                self.last = std::mem::take(&mut self.comment);
            }
            self.is_list = false;
            let words = self.last.clone();
            self.note(name(line), &words);
        }
    }

    /// Keeps a comment that stands alone, for the keys it speaks of. No key has such a name.
    fn paragraph(&mut self) {
        let comment = std::mem::take(&mut self.comment);
        if !comment.is_empty() {
            let number = self.words.len();
            self.note(&format!("({number})"), &comment);
        }
    }

    fn note(&mut self, key: &str, words: &str) {
        let dot = if self.section.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{key}", self.section);
        self.words.entry(path).or_insert_with(|| words.to_owned());
    }
}

fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    }
}

fn name(line: &str) -> &str {
    line.split('=').next().unwrap_or_default().trim()
}
