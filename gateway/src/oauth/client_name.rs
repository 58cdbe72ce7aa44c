//! What a client calls itself: text of a stranger's, made fit to be shown beside ours (T6, D-2).

use std::fmt;

use icu_properties::props::{EnumeratedProperty, GeneralCategory, GeneralCategoryGroup};
use serde::{Deserialize, Serialize};

const MAX_CHARACTERS: usize = 128;
/// As many as a letter has in any language's writing; piled up without end they cover the lines above and below.
const MARKS_IN_A_ROW: usize = 4;
const NAMELESS: &str = "Unknown Application";

/// A name that is one line of visible text. It still says whatever the client likes: a page marks it as unproven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientName(String);

impl ClientName {
    /// Drops what could reorder, hide or break the text around it, and cuts what is left.
    pub fn clean(text: &str) -> Self {
        let spaced = text.chars().map(|character| if character.is_whitespace() { ' ' } else { character });
        let visible: String = spaced.filter(|&character| !is_invisible(character)).collect();
        let visible = without_piles(&visible);
        let words: Vec<&str> = visible.split(' ').filter(|word| !word.is_empty()).collect();
        let cut: String = words.join(" ").chars().take(MAX_CHARACTERS).collect();
        match cut.trim_end() {
            "" => Self(NAMELESS.to_owned()),
            name => Self(name.to_owned()),
        }
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

/// Drops combining marks beyond [`MARKS_IN_A_ROW`], and those that have no letter: they would sit on what stands before.
fn without_piles(text: &str) -> String {
    let mut room = 0;
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        if !GeneralCategoryGroup::Mark.contains(GeneralCategory::for_char(character)) {
            room = if character == ' ' { 0 } else { MARKS_IN_A_ROW };
        } else if room > 0 {
            room -= 1;
        } else {
            continue;
        }
        kept.push(character);
    }
    kept
}

/// Control and format characters (bidirectional controls, zero-width ones, tags), fillers that look like nothing, and
/// what is no character at all.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{06dd}' | '\u{070f}' | '\u{08e2}' | '\u{115f}' | '\u{1160}'
            | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{0600}'..='\u{0605}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{ffff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            // Private use: the font decides what it shows.
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
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
        assert_eq!(cleaned(&"é".repeat(500)).chars().count(), MAX_CHARACTERS);
    }
}
