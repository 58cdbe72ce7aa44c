//! A string that must not be seen: tokens, codes, verifiers, assertions.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret string: wiped when dropped, and never shown by `Debug`. It has no `Display` and no `Serialize` on purpose;
/// whoever needs the text says [`Secret::expose`], which is easy to find in a review.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Keep it out of logs, errors, metrics and URLs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("canary".into())), "Secret(..)");
    }
}
