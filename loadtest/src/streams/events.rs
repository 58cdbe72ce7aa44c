//! Reads `text/event-stream` as it comes, in whatever pieces (HTML standard, section 9.2.6).

/// What a stream says.
#[derive(Debug, Eq, PartialEq)]
pub enum Part<'a> {
    /// The data of an event, its lines joined by newlines.
    Event(&'a [u8]),
    /// A comment: how servers and proxies keep a silent stream alive.
    Comment,
}

/// Between two pieces of a stream.
#[derive(Default)]
pub struct Reader {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// A line ended with CR: an LF that follows belongs to it.
    after_return: bool,
    begun: bool,
}

impl Reader {
    /// Takes the next piece in, and tells what it completes.
    pub fn feed(&mut self, piece: &[u8], mut tell: impl FnMut(Part)) {
        for &byte in piece {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => self.end_line(&mut tell),
                _ => self.line.push(byte),
            }
        }
    }

    fn end_line(&mut self, tell: &mut impl FnMut(Part)) {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        match line.as_slice() {
            [] => self.dispatch(tell),
            [b':', ..] => tell(Part::Comment),
            _ => self.field(&line),
        }
        line.clear();
        // Its room serves the next line.
        self.line = line;
    }

    fn dispatch(&mut self, tell: &mut impl FnMut(Part)) {
        if std::mem::take(&mut self.has_data) {
            tell(Part::Event(&self.data));
        }
        self.data.clear();
    }

    /// Only data matters here.
    fn field(&mut self, line: &[u8]) {
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        if name != b"data" {
            return;
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for piece in pieces {
            reader.feed(piece, |part| {
                seen.push(match part {
                    Part::Event(data) => String::from_utf8(data.to_vec()).unwrap(),
                    Part::Comment => ":".to_owned(),
                });
            });
        }
        seen
    }

    #[test]
    fn events_and_comments_are_told_apart() {
        let stream = b"\xEF\xBB\xBFevent: endpoint\ndata: /message\n\n: keep-alive\n\nid: 7\ndata:a\ndata\ndata:  b\n\ndata: never ended\n";
        assert_eq!(read(&[stream]), ["/message", ":", "a\n\n b"]);
    }

    #[test]
    fn an_event_without_data_is_none() {
        assert_eq!(read(&[b"event: ping\n\nretry: 5\n\ndata\n\n"]), [""]);
    }

    #[test]
    fn every_line_end_and_every_cut_reads_the_same() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["data: one", "", ": still here", "", "data: two", "data: lines", "", ""].join(end);
            let whole = read(&[stream.as_bytes()]);
            assert_eq!(whole, ["one", ":", "two\nlines"], "{end:?}");
            for cut in 0..stream.len() {
                let (one, two) = stream.as_bytes().split_at(cut);
                assert_eq!(read(&[one, two]), whole, "{end:?} cut at {cut}");
            }
        }
    }
}
