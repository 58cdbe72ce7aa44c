//! Where in an event stream the next byte falls (WHATWG HTML, section 9.2.5): between two events, or inside one.

/// Follows the bytes that a client was sent.
#[derive(Debug, Default)]
pub struct EventBorder {
    line: Line,
    /// A line since the last blank one says something.
    event: bool,
    /// A line feed that comes next belongs to a line end that was counted.
    after_carriage_return: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Empty,
    Comment,
    Field,
}

impl EventBorder {
    /// Whether a line of ours would be part of no event. So it is at the very beginning.
    pub fn is_here(&self) -> bool {
        self.line == Line::Empty && !self.event
    }

    pub fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.after_carriage_return => self.after_carriage_return = false,
                b'\n' | b'\r' => {
                    match self.line {
                        Line::Empty => self.event = false,
                        Line::Comment => {}
                        Line::Field => self.event = true,
                    }
                    self.line = Line::Empty;
                    self.after_carriage_return = *byte == b'\r';
                }
                _ => {
                    if self.line == Line::Empty {
                        self.line = if *byte == b':' { Line::Comment } else { Line::Field };
                    }
                    self.after_carriage_return = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each byte of `text`, whether the border is right before it; and once more for its end.
    fn borders(text: &str) -> String {
        let mut border = EventBorder::default();
        let mut shown = String::from(if border.is_here() { "|" } else { "." });
        for byte in text.as_bytes() {
            border.pass(&[*byte]);
            shown.push(if border.is_here() { '|' } else { '.' });
        }
        shown
    }

    #[test]
    fn a_border_is_where_an_event_has_ended() {
        for (text, want) in [
            ("a\n\nb\n\n", "|..|..|"),
            ("a\r\n\r\n", "|...||"),
            ("a\r\rb", "|..|."),
            ("a\r\nb\r\n\r\n", "|......||"),
            ("\n\n", "|||"),
            ("data\n", "|....."),
        ] {
            assert_eq!(borders(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_comment_is_no_event_and_does_not_end_one() {
        assert_eq!(borders(": p\n\n"), "|...||");
        assert_eq!(borders("a\n:\n\n"), "|....|");
    }

    #[test]
    fn chunk_borders_do_not_matter() {
        let text = "id: 1\r\ndata: x\r\n\r\n: c\n\ndata: y\n\n";
        for size in 1..text.len() {
            let mut border = EventBorder::default();
            text.as_bytes().chunks(size).for_each(|chunk| border.pass(chunk));
            assert!(border.is_here(), "in pieces of {size}");
        }
    }
}
