//! Sealed text: what was not sealed by us, for this and here, never opens.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Anything, Plain, SEALER};
use crate::sealed::Purpose;
use crate::{oauth, session};

/// Before the nonce: version and key id.
const PREFIX: usize = 5;

/// The first byte chooses a purpose. With the next one even, the rest is the text that a stranger sends; otherwise it is what
/// we have sealed, and two more bytes say which bit of that is turned.
pub fn token(input: &[u8]) {
    let Some((&[purpose, way], rest)) = input.split_first_chunk() else { return };
    let purpose = Purpose::ALL[usize::from(purpose) % Purpose::ALL.len()];
    match (way % 2, rest.split_first_chunk()) {
        (0, _) => strange(purpose, rest),
        (_, Some((&bit, plain))) => ours(purpose, u16::from_be_bytes(bit), plain),
        (_, None) => {}
    }
}

fn strange(purpose: Purpose, text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let prefixed = format!("{}{text}", purpose.prefix());
    for text in [text, &prefixed] {
        assert!(!opens(purpose, CONTEXT, text), "{text:?} opened");
        // Nothing that somebody made up has a companion that a client of ours could be asked for, unless it names our key.
        if SEALER.companion(purpose, text).is_ok() {
            let body = text.strip_prefix(purpose.prefix()).expect("it has the prefix");
            assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(body).expect("it was decoded")[..PREFIX], [1, 0, 0, 0, 1]);
        }
    }
    session::fuzzing::strange_token(&prefixed);
}

fn ours(purpose: Purpose, bit: u16, plain: &[u8]) {
    let sealed = SEALER.seal(purpose, CONTEXT, &Plain(plain));
    assert!(opens(purpose, CONTEXT, &sealed));
    let body = sealed.strip_prefix(purpose.prefix()).expect("it has the prefix");
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(body).expect("it is of our making");
    let bit = usize::from(bit) % (bytes.len() * 8);
    let whole = bytes.clone();
    bytes[bit / 8] ^= 1 << (bit % 8);
    let with = |bytes: &[u8]| format!("{}{}", purpose.prefix(), BASE64_URL_SAFE_NO_PAD.encode(bytes));
    assert!(!opens(purpose, CONTEXT, &with(&bytes)), "bit {bit}");
    assert!(!opens(purpose, CONTEXT, &with(&whole[..bit / 8])), "cut at {}", bit / 8);
    assert!(!opens(purpose, &[b"context", b""], &sealed), "in another context");
    let other = Purpose::ALL[(purpose as usize + 1 + bit % (Purpose::ALL.len() - 1)) % Purpose::ALL.len()];
    assert!(!opens(other, CONTEXT, &format!("{}{body}", other.prefix())), "as {other:?}");
    session::fuzzing::behind_the_seal(plain);
    oauth::fuzzing::behind_the_seal(plain);
}

/// Whether the seal is good, whatever is behind it.
fn opens(purpose: Purpose, context: &[&[u8]], text: &str) -> bool {
    SEALER.open::<Anything>(purpose, context, text).is_ok()
}

const CONTEXT: &[&[u8]] = &[b"context"];
