//! Choices that can be made again: from a seed, or from a list of them, which a failing schedule is shortened by.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Where the choices of a schedule come from. It keeps those that were made.
pub struct Chance {
    source: Source,
    made: Vec<u32>,
}

enum Source {
    Seed(Box<SmallRng>),
    /// After the last one every choice is the first there is: no fault, the oldest goes on, nothing new begins.
    Made(std::vec::IntoIter<u32>),
}

impl Chance {
    pub fn of_seed(seed: u64) -> Self {
        Self { source: Source::Seed(Box::new(SmallRng::seed_from_u64(seed))), made: Vec::new() }
    }

    pub fn of_choices(choices: Vec<u32>) -> Self {
        Self { source: Source::Made(choices.into_iter()), made: Vec::new() }
    }

    /// Less than `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u32::try_from(limit).expect("no choice is among so many");
        let choice = match &mut self.source {
            Source::Seed(seed) => seed.next_u32() % limit,
            Source::Made(choices) => choices.next().unwrap_or_default() % limit,
        };
        self.made.push(choice);
        choice as usize
    }

    /// In so many of a hundred cases.
    pub fn percent(&mut self, of_a_hundred: usize) -> bool {
        self.below(100) >= 100 - of_a_hundred
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn made(self) -> Vec<u32> {
        self.made
    }
}

/// The shortest list of choices that still `fails`, of those that come from leaving out stretches of this one and from
/// taking the first choice instead of another. Bounded by the number of its tries.
pub fn shortened(mut choices: Vec<u32>, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut tries = 2000;
    let mut stretch = choices.len().next_power_of_two();
    while stretch > 0 && tries > 0 {
        let (mut start, before) = (0, choices.len());
        while start < choices.len() && tries > 0 {
            let end = (start + stretch).min(choices.len());
            let without = [&choices[..start], &choices[end..]].concat();
            let mut flattened = choices.clone();
            flattened[start..end].fill(0);
            tries -= 2;
            if fails(&without) {
                choices = without;
            } else {
                if flattened != choices && fails(&flattened) {
                    choices = flattened;
                }
                start = end;
            }
        }
        if choices.len() == before {
            stretch /= 2;
        }
    }
    choices
}
