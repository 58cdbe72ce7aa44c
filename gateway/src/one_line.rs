//! Text of a stranger's, made fit to be shown beside ours (T6): on a page, or in an operator's terminal.

use icu_properties::props::{EnumeratedProperty, GeneralCategory, GeneralCategoryGroup};

const MAX_CHARACTERS: usize = 128;
/// As many as a letter has in any language's writing; piled up without end they cover the lines above and below.
const MARKS_IN_A_ROW: usize = 4;

/// One line of visible text: without what could reorder, hide or break the text around it, or steer a terminal. `None`
/// when nothing is left.
pub fn one_line(text: &str) -> Option<String> {
    visible(text, MAX_CHARACTERS)
}

/// Likewise, of at most so many characters.
pub fn visible(text: &str, most: usize) -> Option<String> {
    if is_plain(text) && text.len() <= most {
        return Some(text.to_owned());
    }
    let spaced = text.chars().map(|character| if character.is_whitespace() { ' ' } else { character });
    let visible: String = spaced.filter(|&character| !is_invisible(character)).collect();
    let visible = without_piles(&visible);
    let words: Vec<&str> = visible.split(' ').filter(|word| !word.is_empty()).collect();
    let cut: String = words.join(" ").chars().take(most).collect();
    Some(cut.trim_end().to_owned()).filter(|line| !line.is_empty())
}

/// As most names are, so that nothing of them has to be looked up: each call of a tool has some in the audit log.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
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

    #[test]
    fn nothing_steers_a_terminal() {
        for (text, shown) in [
            ("\u{1b}[31mred\u{1b}[0m\u{7}", "[31mred[0m"),
            ("\u{9b}2J\u{9d}0;title\u{9c}", "2J0;title"),
            ("a\r\n\tb\u{8}\u{7f}", "a b"),
            ("\u{202e}moc\u{2066}", "moc"),
        ] {
            assert_eq!(one_line(text).as_deref(), Some(shown));
        }
        assert_eq!(one_line("\u{1b}\u{200b} \n"), None);
    }

    #[test]
    fn a_plain_name_stays_as_it_is_up_to_the_longest() {
        assert_eq!(one_line("tools/call").as_deref(), Some("tools/call"));
        assert_eq!(one_line(&"x".repeat(MAX_CHARACTERS + 1)), Some("x".repeat(MAX_CHARACTERS)));
        assert_eq!(one_line(""), None);
    }
}
