//! Queries and forms.

use form_urlencoded::Serializer;

use crate::oauth::parameters::Parameters;

/// `application/x-www-form-urlencoded` text.
pub fn form(input: &[u8]) {
    let pairs = pairs(input);
    is_read_as(input, &pairs);
    // What is written means what it was.
    let written = Serializer::new(String::new()).extend_pairs(&pairs).finish();
    is_read_as(written.as_bytes(), &pairs);
}

fn is_read_as(text: &[u8], pairs: &[(String, String)]) {
    let parameters = Parameters::parse(text);
    let given: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    let values = |name: &str| -> Vec<&str> {
        given.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    };
    for name in pairs.iter().map(|(name, _)| name.as_str()).chain(["state", ""]) {
        match (parameters.one(name), values(name).len()) {
            (Err(_), 2..) => {}
            (Ok(found), 0 | 1) => assert_eq!(found, values(name).first().copied(), "{name:?}"),
            (found, count) => panic!("{name:?} is there {count} times, and was read as {found:?}"),
        }
    }
    assert_eq!(parameters.each_once().is_ok(), given.iter().all(|(name, _)| values(name).len() == 1));
}

/// What the URL standard (section 5.1) has in a text, by another road.
fn pairs(text: &[u8]) -> Vec<(String, String)> {
    let sequences = text.split(|byte| *byte == b'&').filter(|sequence| !sequence.is_empty());
    sequences
        .map(|sequence| {
            let end = sequence.iter().position(|byte| *byte == b'=').unwrap_or(sequence.len());
            (decoded(&sequence[..end]), decoded(sequence.get(end + 1..).unwrap_or_default()))
        })
        .collect()
}

fn decoded(text: &[u8]) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let (byte, length) = match (first, digit(0), digit(1)) {
            (b'+', ..) => (b' ', 1),
            (b'%', Some(high), Some(low)) => (u8::try_from(high * 16 + low).expect("it has two digits"), 3),
            (byte, ..) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
