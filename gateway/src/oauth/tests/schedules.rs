//! Codes, refresh tokens and the end of sessions at three replicas over one store, in orders that a seed chooses, beside a model
//! of them ([`world`]).
//!
//! What is played is the real thing: `/token`, `/revoke`, the kill switch, the admission of calls, each replica with its own
//! first tier. Between it and the store in memory is the schedule ([`between`], [`desk`]): it lets one question after another go
//! on, fails some, loses the answer of some, brings announcements or loses them, and moves the time. Nothing else is left to
//! chance: the same seed plays the same schedule. Entra is out of reach all the time.

mod between;
mod chance;
mod deeds;
mod desk;
mod family;
mod found;
mod play;
mod replicas;
mod tally;
mod verdict;
mod world;

use between::Missing;
use chance::{Chance, shortened};
use play::play;
use replicas::Installation;
use tally::Tally;

use crate::secret::repeated;

/// In `make test`; `SCHEDULES` says otherwise.
const SCHEDULES: u64 = 1500;
const SEED: u64 = 20_261_126;

#[test]
fn no_schedule_gives_an_answer_that_the_model_does_not() {
    if let Some(seed) = number("SCHEDULE_SEED") {
        if let Some(violation) = violation(seed, None) {
            panic!("{violation}");
        }
        return eprintln!("SCHEDULE_SEED={seed}: nothing is wrong with it");
    }
    let (first, schedules) = (number("SEED").unwrap_or(SEED), number("SCHEDULES").unwrap_or(SCHEDULES));
    let begun = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads = (0..threads).map(|thread| {
        let seeds = (first + thread..first + schedules).step_by(threads as usize);
        std::thread::spawn(move || search(seeds, None))
    });
    let mut tally = Tally::default();
    for thread in threads.collect::<Vec<_>>() {
        let (found, tried) = thread.join().unwrap();
        tally.add(tried);
        if let Some(seed) = found {
            panic!("{}", violation(seed, None).unwrap_or_else(|| format!("seed {seed} does not do it again")));
        }
    }
    eprintln!("seeds from {first}, {:?}: {tally}", begun.elapsed());
    assert!(tally.deeds.len() > 25 && tally.crossed > schedules, "too little is tried");
}

/// Each protection that is missing is missed.
#[test]
fn a_schedule_without_a_protection_is_found_out() {
    for missing in [
        Missing::OneStep,
        Missing::SingleUse,
        Missing::Reuse,
        Missing::Grace,
        Missing::Removal,
        Missing::Replacement,
        Missing::Candour,
        Missing::Time,
    ] {
        let (found, tally) = search(SEED..SEED + 8000, Some(missing));
        let seed = found.unwrap_or_else(|| panic!("{missing:?}: nobody notices in {} schedules", tally.schedules));
        eprintln!("without {missing:?}: seed {seed}, after {} schedules", tally.schedules);
    }
}

/// The same seed is the same schedule, whatever was played before.
#[test]
fn a_schedule_is_the_same_again() {
    let mut installation = installation();
    let mut steps = |seed| play(&mut installation, Chance::of_seed(seed), None, true, &mut Tally::default()).steps;
    let first: Vec<_> = (0..20).map(&mut steps).collect();
    for seed in (0..20).rev() {
        assert_eq!(steps(seed), first[seed as usize]);
    }
}

/// The first of these seeds whose schedule violates the model.
fn search(seeds: impl Iterator<Item = u64>, missing: Option<Missing>) -> (Option<u64>, Tally) {
    let (mut installation, mut tally) = (installation(), Tally::default());
    for seed in seeds {
        if play(&mut installation, Chance::of_seed(seed), missing, false, &mut tally).violation.is_some() {
            return (Some(seed), tally);
        }
    }
    (None, tally)
}

/// What is wrong with the schedule of this seed, and the shortest one like it that is wrong too.
fn violation(seed: u64, missing: Option<Missing>) -> Option<String> {
    let (mut installation, mut tally) = (installation(), Tally::default());
    let played = play(&mut installation, Chance::of_seed(seed), missing, true, &mut tally);
    let violation = played.violation?;
    let mut replay = |choices: &[u32], told| {
        play(&mut installation, Chance::of_choices(choices.to_vec()), missing, told, &mut tally)
    };
    let same = |found: &str| kind(found) == kind(&violation);
    let choices =
        shortened(played.choices, |choices| replay(choices, false).violation.is_some_and(|found| same(&found)));
    let short = replay(&choices, true);
    Some(format!(
        "SCHEDULE_SEED={seed}: {violation}\n{} steps; {} of a schedule like it:\n{}\n{}",
        played.steps.len(),
        short.steps.len(),
        short.steps.join("\n"),
        short.violation.unwrap_or_default(),
    ))
}

/// What is wrong, without the numbers: a shorter schedule is to have the same fault, not any.
fn kind(violation: &str) -> String {
    let fault = violation.split(" at ").next().unwrap_or_default();
    fault.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

fn installation() -> Installation {
    repeated::from(1);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(Installation::new())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}
