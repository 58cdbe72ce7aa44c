//! Whose turn it is: which of many sessions sends the next request.

use rand::Rng;
use rand_distr::{Distribution, Zipf};

/// A choice among `0..sessions`.
#[derive(Clone, Copy, Debug)]
pub enum Mix {
    /// Each as often as any other.
    Even(usize),
    /// The first one most, the k-th as often as `k^-exponent` says: a few sessions are busy, most are nearly idle.
    Zipf(Zipf<f64>),
}

impl Mix {
    /// `exponent` 0 is even. None when there is nobody to choose, or the exponent is no number from 0 on.
    pub fn new(sessions: usize, exponent: f64) -> Option<Self> {
        if sessions == 0 || !exponent.is_finite() || exponent < 0.0 {
            return None;
        }
        if exponent == 0.0 {
            return Some(Self::Even(sessions));
        }
        Zipf::new(sessions as f64, exponent).ok().map(Self::Zipf)
    }

    pub fn choose(&self, random: &mut impl Rng) -> usize {
        match self {
            Self::Even(1) => 0,
            Self::Even(sessions) => random.next_u64() as usize % sessions,
            // Ranks begin at one.
            Self::Zipf(zipf) => zipf.sample(random) as usize - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const DRAWS: usize = 200_000;

    fn counts(mix: Mix, sessions: usize) -> Vec<usize> {
        let mut random = SmallRng::seed_from_u64(7);
        let mut counts = vec![0; sessions];
        for _ in 0..DRAWS {
            counts[mix.choose(&mut random)] += 1;
        }
        counts
    }

    #[test]
    fn by_zipf_the_kth_session_comes_a_kth_as_often_as_the_first() {
        let counts = counts(Mix::new(100_000, 1.0).unwrap(), 100_000);
        // The harmonic number of 100,000 is 12.09.
        let first = DRAWS as f64 / 12.09;
        for rank in [1, 2, 3, 5, 10] {
            let expected = first / rank as f64;
            let seen = counts[rank - 1] as f64;
            assert!((seen - expected).abs() < expected * 0.1, "rank {rank}: {seen} instead of {expected}");
        }
        assert!(counts[50_000..].iter().sum::<usize>() > DRAWS / 30, "the tail comes too");
    }

    #[test]
    fn an_even_mix_is_even() {
        let counts = counts(Mix::new(10, 0.0).unwrap(), 10);
        assert!(counts.iter().all(|count| count.abs_diff(DRAWS / 10) < DRAWS / 200), "{counts:?}");
    }

    #[test]
    fn a_mix_of_nobody_is_none() {
        assert!(Mix::new(0, 1.0).is_none());
        assert!(Mix::new(5, -1.0).is_none());
        assert!(Mix::new(5, f64::NAN).is_none());
    }
}
