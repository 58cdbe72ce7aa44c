//! A session as its client sees it, and all the worlds in which the answers so far leave it.
//!
//! What is under way may have happened already or not, in any order: every answer is compared with all that it can mean. One
//! that no world explains is a fault of the code.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Amiss, Answer, LONGEST, Life, Span, Step, World};
use crate::sealed::Index;

/// What every access token ends by; the configured life.
pub const ACCESS_LIVES: u64 = 600;

pub struct Family {
    pub code: String,
    /// Whose it is, and by what it is known that nobody else's token was given.
    pub user: String,
    pub entra_token: String,
    pub session: Option<Index>,
    /// By their generation.
    pub refresh_tokens: BTreeMap<u32, String>,
    pub access_tokens: Vec<AccessToken>,
    states: BTreeSet<State>,
    under_way: Vec<UnderWay>,
    /// When it was confirmed that the session is over.
    pub over: Option<u64>,
    /// Replicas at which it was ended.
    pub ended_at: BTreeSet<usize>,
    latest_end: u64,
}

#[derive(Clone)]
pub struct AccessToken {
    pub text: String,
    pub expires: Span,
}

/// One world, with what of that under way has happened in it, and what its answer will be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    world: World,
    happened: Vec<(u64, Answer, Amiss)>,
}

struct UnderWay {
    deed: u64,
    step: Step,
    since: u64,
    /// The earliest end of the session, as it was when this began.
    ends: u64,
}

impl Family {
    pub fn new(code: String, user: String, entra_token: String, begun: Span, entra_lives: u64, lives: &[Life]) -> Self {
        let states = lives.iter().map(|life| State { world: World::new(begun, entra_lives, *life), happened: vec![] });
        Self {
            code,
            user,
            entra_token,
            session: None,
            refresh_tokens: BTreeMap::new(),
            access_tokens: Vec::new(),
            states: states.collect(),
            under_way: Vec::new(),
            over: None,
            ended_at: BTreeSet::new(),
            latest_end: begun.1 + LONGEST,
        }
    }

    pub fn begins(&mut self, deed: u64, step: Step, now: u64) {
        let ends = self.states.iter().map(|state| state.world.ends.0).min().unwrap_or_default();
        self.under_way.push(UnderWay { deed, step, since: now, ends });
    }

    /// The deed was answered; `None` when whoever asked went away before. `kept` says whether nothing was in the way of the
    /// session's going on, if that is what was asked for.
    ///
    /// # Errors
    /// When nothing explains the answer.
    pub fn answered(
        &mut self,
        deed: u64,
        answer: Option<Answer>,
        amiss: Amiss,
        kept: bool,
        now: u64,
    ) -> Result<(), String> {
        let before = self.under_way.iter().find(|other| other.deed == deed).map_or(0, |other| other.ends);
        let possible = self.possible(now);
        let mut explained = BTreeSet::new();
        for mut state in possible.iter().cloned() {
            let place = state.happened.iter().position(|(other, ..)| *other == deed);
            let explains = match (place.map(|place| state.happened.remove(place)), answer) {
                (Some((_, meant, needs)), Some(answer)) => meant == answer && needs <= amiss,
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if explains {
                if !kept {
                    state.world.ends.0 = state.world.ends.0.min(before);
                }
                explained.insert(state);
            }
        }
        if explained.is_empty() {
            let worlds: Vec<_> = self.states.iter().map(|state| format!("  {:?}", state.world)).collect();
            return Err(format!("{answer:?} at {now} s with {amiss:?} amiss; but\n{}", worlds.join("\n")));
        }
        self.states = explained;
        self.under_way.retain(|other| other.deed != deed);
        // What others are about to confirm is not confirmed.
        let confirmed = |state: &State| state.world.life == Life::Over && state.happened.is_empty();
        if self.over.is_none() && self.states.iter().all(confirmed) {
            self.over = Some(now);
        }
        Ok(())
    }

    /// How many worlds there are.
    pub fn worlds(&self) -> usize {
        self.states.len()
    }

    /// Whether the session lives, whatever has happened meanwhile.
    pub fn lives_for_sure(&self, now: u64) -> bool {
        self.possible(now).iter().all(|state| state.world.life == Life::Lives && now < state.world.ends.0)
    }

    /// Tokens were given: their life is true.
    pub fn given(&mut self, text: String, expires_in: u64, asked: u64, now: u64) -> Result<(), String> {
        let latest = self.states.iter().map(|state| state.world.ends.1).max().unwrap_or_default();
        self.latest_end = self.latest_end.max(latest);
        if expires_in > ACCESS_LIVES || asked + expires_in > self.latest_end {
            return Err(format!("an access token for {expires_in} s at {now} s outlives its session: {latest} s"));
        }
        self.access_tokens.push(AccessToken { text, expires: (asked + expires_in, now + expires_in) });
        Ok(())
    }

    /// All that can be by now.
    fn possible(&self, now: u64) -> BTreeSet<State> {
        let mut found = self.states.clone();
        let mut open: Vec<State> = found.iter().cloned().collect();
        while let Some(state) = open.pop() {
            for other in &self.under_way {
                if state.happened.iter().any(|(deed, ..)| *deed == other.deed) {
                    continue;
                }
                for (answer, world, needs) in state.world.after(other.step, (other.since, now)) {
                    let mut happened = state.happened.clone();
                    happened.push((other.deed, answer, needs));
                    happened.sort_by_key(|(deed, ..)| *deed);
                    let next = State { world, happened };
                    if found.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
        }
        found
    }
}
