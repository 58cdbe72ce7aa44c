//! A session in a set.

use crate::sealed::{Index, KeyId};

/// What a set says of a session: enough to end it, and to know that it is over with its key. Its listing does not tell
/// that, which is sealed anew when the session is used, and so under another key or under none that opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub session: Index,
    pub key: KeyId,
}

impl Member {
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..32].copy_from_slice(&self.session.0);
        bytes[32..].copy_from_slice(&self.key.get().to_be_bytes());
        bytes
    }

    /// `None` for what was not written by us.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (session, key) = bytes.split_first_chunk()?;
        Some(Self { session: Index(*session), key: KeyId::new(u32::from_be_bytes(key.try_into().ok()?)) })
    }
}

const LENGTH: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_nothing_else_does() {
        let member = Member { session: Index([7; 32]), key: KeyId::new(0x0102_0304) };
        assert_eq!(Member::from_bytes(&member.to_bytes()), Some(member));
        for strange in [&[][..], &[7; 32], &[7; 35], &[7; 37]] {
            assert_eq!(Member::from_bytes(strange), None);
        }
    }
}
