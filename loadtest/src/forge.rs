//! Tokens that the edge must refuse.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;

/// What the edge's access tokens begin with.
const PREFIX: &str = "sp1_at_";
/// About as long as a real one is.
const SEALED_BYTES: usize = 96;

/// Of the right shape and length, and sealed by nobody. `model`: a real token, of which it then differs in one character;
/// that is the one that gets furthest.
pub fn forged(model: Option<&str>, random: &mut impl Rng) -> String {
    match model {
        Some(model) if model.len() > PREFIX.len() => with_one_change(model, random),
        _ => {
            let mut sealed = [0; SEALED_BYTES];
            random.fill_bytes(&mut sealed);
            format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))
        }
    }
}

fn with_one_change(model: &str, random: &mut impl Rng) -> String {
    // Not the last character, whose lowest bits may mean nothing.
    let places = model.len() - PREFIX.len() - 1;
    let place = PREFIX.len() + random.next_u64() as usize % places.max(1);
    let change = |(at, old): (usize, char)| match (at == place, old) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, old) => old,
    };
    model.char_indices().map(change).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn a_forged_token_is_no_real_one() {
        let mut random = SmallRng::seed_from_u64(1);
        let model = "sp1_at_AbCdEfGh";
        for _ in 0..100 {
            let token = forged(Some(model), &mut random);
            assert!(token.starts_with(PREFIX) && token.len() == model.len());
            assert_eq!(token.bytes().zip(model.bytes()).filter(|(a, b)| a != b).count(), 1);
        }
        assert_ne!(forged(None, &mut random), forged(None, &mut random));
        assert!(forged(None, &mut random).starts_with(PREFIX));
    }
}
