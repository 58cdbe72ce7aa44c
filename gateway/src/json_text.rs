//! Text as JSON has it, for lines of which thousands are made in a second. A serializer would make a piece of memory for each value.

use std::fmt::Write;

/// RFC 8259 section 7.
pub fn append(text: &mut String, value: &str) {
    text.push('"');
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push_str(value);
        text.push('"');
        return;
    }
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\0'..='\x1f' => _ = write!(text, "\\u{:04x}", u32::from(character)),
            _ => text.push(character),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reader_of_json_gets_it_back(value in any::<String>()) {
            let mut text = String::new();
            append(&mut text, &value);
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        }
    }
}
