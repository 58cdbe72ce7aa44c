//! What one session can be, and what may come of a step: the rules of security.md for codes and refresh tokens, written
//! down a second time and from the outside.

/// Seconds since the code was issued. None of these is taken from the code under test.
const CODE_LIVES: u64 = 60;
const CLAIM_GRACE: u64 = 30;
const REFRESH_GRACE: u64 = 45;
const EPITAPH_LIVES: u64 = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    code: Code,
    life: Life,
    generation: u32,
    /// When the generation came to be.
    moved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Code {
    Unused,
    /// Given to somebody, who may not have heard of it.
    Claimed {
        since: u64,
        kept_until: u64,
    },
    Spent {
        kept_until: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Lives,
    /// Its end was asked for and not confirmed.
    Doubtful,
    Over,
}

#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// `None`: by another client than the code's. Else whether the verifier is right.
    Redeem {
        proven: Option<bool>,
    },
    Refresh {
        generation: u32,
        by_owner: bool,
    },
    SignOut {
        by_owner: bool,
    },
    Call,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With the refresh token of this generation.
    Tokens(u32),
    Done,
    Refused,
    /// 503: come again.
    Later,
}

use Answer::{Done, Later, Refused, Tokens};

impl World {
    pub fn new() -> Self {
        Self { code: Code::Unused, life: Life::Lives, generation: 0, moved: 0 }
    }

    /// All that may come of a step; with a faulty store more than without.
    pub fn after(self, step: Step, now: u64, faulty: bool) -> Vec<(Answer, World)> {
        let mut outcomes = match step {
            Step::Redeem { proven: None } | Step::Refresh { by_owner: false, .. } => return vec![(Refused, self)],
            Step::SignOut { by_owner: false } => return vec![(Done, self)],
            Step::Redeem { proven: Some(right) } => self.redeem(right, now, faulty),
            Step::Refresh { generation, .. } => self.refresh(generation, now, faulty),
            Step::SignOut { by_owner: true } => self.end(Done, faulty),
            Step::Call => match self.life {
                Life::Lives => vec![(Done, self)],
                Life::Doubtful => vec![(Done, self), (Refused, self)],
                Life::Over => vec![(Refused, self)],
            },
        };
        if faulty {
            outcomes.push((Later, self));
        }
        outcomes
    }

    fn redeem(self, right: bool, now: u64, faulty: bool) -> Vec<(Answer, World)> {
        let claimed = |since| World { code: Code::Claimed { since, kept_until: now + EPITAPH_LIVES }, ..self };
        let spent = World { code: Code::Spent { kept_until: now + EPITAPH_LIVES }, ..self };
        let give = |since| match faulty {
            // Whoever was given it without a word to the store, or without hearing of it, may come again.
            true => vec![(Tokens(0), spent), (Tokens(0), claimed(since)), (Later, claimed(since)), (Later, spent)],
            false => vec![(Tokens(0), spent)],
        };
        match self.code {
            Code::Unused if now >= CODE_LIVES => vec![(Refused, self)],
            Code::Unused if right => give(now),
            Code::Unused => vec![(Refused, self)],
            Code::Claimed { kept_until, .. } | Code::Spent { kept_until } if now >= kept_until => vec![(Refused, self)],
            Code::Claimed { since, .. } if right && now - since <= CLAIM_GRACE => match now < CODE_LIVES {
                true => give(since),
                false if faulty => vec![(Refused, claimed(since)), (Later, claimed(since))],
                false => vec![(Refused, claimed(since))],
            },
            // Somebody knows a code that another one has used: a thief, or the one who was robbed.
            Code::Claimed { .. } => spent.end(Refused, faulty),
            Code::Spent { .. } => self.end(Refused, faulty),
        }
    }

    fn refresh(self, presented: u32, now: u64, faulty: bool) -> Vec<(Answer, World)> {
        if self.life == Life::Over {
            return vec![(Refused, self)];
        }
        let mut outcomes = if presented == self.generation {
            let moved = World { generation: presented + 1, moved: now, ..self };
            match faulty {
                true => vec![(Tokens(presented + 1), moved), (Later, moved)],
                false => vec![(Tokens(presented + 1), moved)],
            }
        } else if presented + 1 == self.generation && now - self.moved <= REFRESH_GRACE {
            vec![(Tokens(self.generation), self)]
        } else {
            self.end(Refused, faulty)
        };
        if self.life == Life::Doubtful {
            outcomes.push((Refused, self));
        }
        outcomes
    }

    fn end(self, answer: Answer, faulty: bool) -> Vec<(Answer, World)> {
        let over = World { life: Life::Over, ..self };
        let doubtful = World { life: if self.life == Life::Over { Life::Over } else { Life::Doubtful }, ..self };
        match faulty {
            true => vec![(answer, over), (Later, over), (Later, doubtful)],
            false => vec![(answer, over)],
        }
    }
}
