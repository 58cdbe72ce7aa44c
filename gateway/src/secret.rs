//! Secret bytes and the chance they come from.

use std::fmt;
use std::ops::Deref;

use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 256 secret bits. Wiped when dropped, and shown by no format.
///
/// It can be serialised because sealed tokens and sealed records carry such keys; nothing else may serialise one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn random() -> Self {
        Self(random_bytes())
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(..)")
    }
}

/// Secret bytes that are wiped when they are dropped.
pub struct Wiped(Vec<u8>);

impl Wiped {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe_bytes(&mut self.0);
    }
}

/// Leaves an empty text, and nothing of what it held.
pub fn wipe(text: &mut String) {
    wipe_bytes(&mut std::mem::take(text).into_bytes());
}

/// As a slice at a time: a vector's own `zeroize` writes byte by byte, which for a token of Entra's takes a microsecond.
fn wipe_bytes(bytes: &mut Vec<u8>) {
    bytes.spare_capacity_mut().zeroize();
    bytes.as_mut_slice().zeroize();
}

/// `N` unpredictable bytes from the operating system.
///
/// # Panics
/// When the operating system has no entropy to give: no token may be made then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[cfg(test)]
    if repeated::fill(&mut bytes) {
        return bytes;
    }
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A number by chance that tells things apart, and is no secret. Few of these ask the operating system: a generator of this
/// thread that was seeded there makes them.
pub fn random_number() -> u64 {
    #[cfg(test)]
    if let Some(number) = repeated::number() {
        return number;
    }
    rand::random()
}

/// A number from 0 to 1, likewise, to spread things out.
pub fn random_fraction() -> f64 {
    #[cfg(test)]
    if let Some(number) = repeated::number() {
        return (number >> 11) as f64 / (1_u64 << 53) as f64;
    }
    rand::random()
}

/// Chance that comes the same way again, in the thread of a test that asks for it.
#[cfg(test)]
pub mod repeated {
    use std::cell::RefCell;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    thread_local! {
        static CHANCE: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
    }

    /// From here on this thread draws what it would draw after any other call with this seed.
    pub fn from(seed: u64) {
        CHANCE.set(Some(SmallRng::seed_from_u64(seed)));
    }

    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        CHANCE.with_borrow_mut(|chance| chance.as_mut().map(|chance| chance.fill_bytes(bytes))).is_some()
    }

    pub(super) fn number() -> Option<u64> {
        CHANCE.with_borrow_mut(|chance| chance.as_mut().map(Rng::next_u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", SecretKey::new([7; 32])), "SecretKey(..)");
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(random_bytes::<16>(), random_bytes::<16>());
    }
}
