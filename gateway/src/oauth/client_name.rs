//! What a client calls itself: text of a stranger's, made fit to be shown beside ours (T6, D-2).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::one_line::one_line;

const NAMELESS: &str = "Unknown Application";

/// A name that is one line of visible text. It still says whatever the client likes: a page marks it as unproven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientName(String);

impl ClientName {
    /// Drops what could reorder, hide or break the text around it, and cuts what is left.
    pub fn clean(text: &str) -> Self {
        one_line(text).map_or_else(Self::default, Self)
    }
}

impl Default for ClientName {
    fn default() -> Self {
        Self(NAMELESS.to_owned())
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        ClientName::clean(text).to_string()
    }

    #[test]
    fn names_of_people_and_programs_stay() {
        for name in ["MCP Inspector", "Clïent 漢字 עברית (v2.1) – \"quoted\" <b>", "O'Brien & Söhne"] {
            assert_eq!(cleaned(name), name);
        }
    }

    #[test]
    fn what_deceives_is_dropped() {
        assert_eq!(cleaned("a\u{202e}b\u{200b}c\u{2066}d\u{feff}e\u{e0041}f\u{3164}"), "abcdef");
        assert_eq!(cleaned("  one\r\n\ttwo\u{a0}\u{2003}three\0 "), "one two three");
        assert_eq!(cleaned("\u{200b}\u{202e} \n"), NAMELESS);
        assert_eq!(cleaned(""), NAMELESS);
    }

    /// T6.
    #[test]
    fn marks_do_not_pile_up() {
        let pile = |marks: usize| format!("Cla{}ude", "\u{301}\u{335}".repeat(marks / 2));
        assert_eq!(cleaned(&pile(4)), pile(4));
        for marks in [6, 60, 1000] {
            assert_eq!(cleaned(&pile(marks)), pile(4));
        }
        assert_eq!(
            cleaned(&pile(4).replace('\u{335}', "\u{200b}\u{335}\u{fe0f}\u{489}")),
            "Cla\u{301}\u{335}\u{489}\u{301}ude"
        );
        assert_eq!(cleaned("\u{301}a \u{20dd}\u{e31} b\u{301}"), "a b\u{301}", "a mark without a letter");
        assert_eq!(cleaned(&"\u{e49}".repeat(9)), NAMELESS);
        // Vietnamese taken apart, pointed Hebrew, Hindi, Thai, Tibetan, Burmese.
        for name in ["Vie\u{323}\u{302}t", "שָּׁלוֹם", "हिन्दी क़्षी", "ที่นี่", "བསྒྲུབས", "မြွှာ ကြောင့်"]
        {
            assert_eq!(cleaned(name), name);
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(cleaned(&"é".repeat(500)).chars().count(), 128);
    }
}
