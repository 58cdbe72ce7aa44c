//! What one session can be, and what may come of a step: the rules of security.md for codes and refresh tokens, written
//! down a second time and from the outside. What is done takes a while, and counts at one moment of it.

/// Seconds. None of these is taken from the code under test, but for the two that it is configured with.
const CODE_LIVES: u64 = 60;
const CLAIM_GRACE: u64 = 30;
const EPITAPH_LIVES: u64 = 600;
const REFRESH_GRACE: u64 = 45;
pub const IDLE: u64 = 1800;
pub const LONGEST: u64 = 7200;
/// Idle time counts to the minute.
const PRECISION: u64 = 60;
/// Entra's token counts for half a minute less than Entra says, and is given out with half a minute of its life or more.
const MARGIN: u64 = 30;

/// The earliest and the latest second.
pub type Span = (u64, u64);

fn later(span: Span, seconds: u64) -> Span {
    (span.0 + seconds, span.1 + seconds)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    code: Code,
    pub life: Life,
    generation: u32,
    /// When the generation came to be.
    moved: Span,
    /// When it is over unless it is refreshed, and at the latest.
    pub ends: Span,
    ends_at_the_latest: Span,
    /// The end of Entra's token, which nobody renews here.
    entra: Span,
    code_until: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Code {
    Unused,
    /// Given to somebody, who may not have heard of it.
    Claimed {
        since: Span,
        kept_until: Span,
    },
    Spent {
        kept_until: Span,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    Lives,
    /// Its end was asked for and not confirmed.
    Doubtful,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// By an operator; one that began before the session did may have missed it.
    Revoke {
        surely: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// With the refresh token of this generation.
    Tokens(u32),
    Done,
    Refused,
    /// 503: come again.
    Later,
    /// To an operator: of some who live it cannot be told whether they are meant.
    Unsure,
}

/// What must have been amiss for an answer to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amiss {
    Nothing,
    /// Others did something with the session at the same time.
    Crowd,
    /// The store failed meanwhile, or whoever asked went away.
    Fault,
    FaultInACrowd,
}

pub type Outcome = (Answer, World, Amiss);

use Amiss::{Crowd, Fault, FaultInACrowd, Nothing};
use Answer::{Done, Later, Refused, Tokens, Unsure};

impl World {
    /// Begun at that time, with a token of Entra's for so many seconds.
    pub fn new(begun: Span, entra_lives: u64, life: Life) -> Self {
        Self {
            code: Code::Unused,
            life,
            generation: 0,
            moved: begun,
            ends: later(begun, IDLE),
            ends_at_the_latest: later(begun, LONGEST),
            entra: later(begun, entra_lives - MARGIN),
            code_until: later(begun, CODE_LIVES),
        }
    }

    /// All that may come of a step.
    pub fn after(self, step: Step, when: Span) -> Vec<Outcome> {
        let mut outcomes = match step {
            Step::Redeem { proven: None } | Step::Refresh { by_owner: false, .. } => vec![(Refused, self, Nothing)],
            Step::SignOut { by_owner: false } => vec![(Done, self, Nothing)],
            Step::Redeem { proven: Some(right) } => self.redeem(right, when),
            Step::Refresh { generation, .. } => self.refresh(generation, when),
            Step::SignOut { by_owner: true } | Step::Revoke { surely: true } => self.end(Done),
            Step::Revoke { surely: false } => [self.end(Done), vec![(Done, self, Nothing)]].concat(),
        };
        if let Step::Revoke { .. } = step {
            outcomes.extend(self.end(Unsure).into_iter().map(|(_, world, _)| (Unsure, world, Crowd)));
            outcomes.push((Unsure, self, Crowd));
        }
        outcomes.push((Later, self, Fault));
        outcomes
    }

    fn redeem(self, right: bool, when: Span) -> Vec<Outcome> {
        let kept_until = later(when, EPITAPH_LIVES);
        let spent = World { code: Code::Spent { kept_until }, ..self };
        let claimed = |since| World { code: Code::Claimed { since, kept_until }, ..self };
        // Whoever was given it without a word to the store, or without hearing of it, may come again.
        let give = |since| {
            let unheard = [(Later, spent, Crowd), (Later, claimed(since), Crowd), (Tokens(0), claimed(since), Fault)];
            [vec![(Tokens(0), spent, Nothing)], unheard.to_vec()].concat()
        };
        let mut outcomes = Vec::new();
        let (good, expired) = (when.0 < self.code_until.1, when.1 >= self.code_until.0);
        match self.code {
            Code::Unused => {
                if expired || !right {
                    outcomes.push((Refused, self, Nothing));
                }
                if good && right {
                    outcomes.extend(give(when));
                    // It was claimed and nobody heard of it; before it was asked for again, somebody with another verifier spent it.
                    let robbed = spent.end(Refused).into_iter();
                    outcomes.extend(robbed.map(|(answer, world, _)| (answer, world, FaultInACrowd)));
                }
            }
            Code::Claimed { kept_until, .. } | Code::Spent { kept_until } if when.1 >= kept_until.0 => {
                outcomes.push((Refused, self, Nothing));
            }
            Code::Claimed { .. } | Code::Spent { .. } => {}
        }
        match self.code {
            Code::Claimed { since, kept_until } if when.0 < kept_until.1 => {
                if right && when.0 <= since.1 + CLAIM_GRACE {
                    if good {
                        outcomes.extend(give(since));
                    }
                    if expired {
                        outcomes.extend([(Refused, claimed(since), Nothing), (Later, claimed(since), Crowd)]);
                    }
                }
                // Somebody knows a code that another one has used: a thief, or the one who was robbed.
                if !right || when.1 > since.0 + CLAIM_GRACE {
                    outcomes.extend(spent.end(Refused));
                }
            }
            Code::Spent { kept_until } if when.0 < kept_until.1 => outcomes.extend(self.end(Refused)),
            Code::Unused | Code::Claimed { .. } | Code::Spent { .. } => {}
        }
        outcomes
    }

    fn refresh(self, presented: u32, when: Span) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if self.life != Life::Lives || when.1 >= self.ends.0 {
            outcomes.push((Refused, self, Nothing));
        }
        if self.life == Life::Over || when.0 >= self.ends.1 {
            return outcomes;
        }
        // Whatever came of it, the session may go on for it; surely only if nothing was amiss.
        let latest = (when.1 + IDLE).min(self.ends_at_the_latest.1).max(self.ends.1);
        let maybe_kept = World { ends: (self.ends.0, latest), ..self };
        let surely = (when.0 + IDLE - PRECISION).min(self.ends_at_the_latest.0).max(self.ends.0);
        let kept = World { ends: (surely, latest), ..self };
        outcomes.push((Later, maybe_kept, Fault));
        if when.1 + MARGIN > self.entra.0 {
            outcomes.push((Later, maybe_kept, Nothing));
        }
        if when.0 + MARGIN > self.entra.1 {
            return outcomes;
        }
        if presented == self.generation {
            let moved = |world| World { generation: presented + 1, moved: when, ..world };
            let next = Tokens(presented + 1);
            outcomes.extend([(next, moved(kept), Nothing), (next, moved(maybe_kept), Fault)]);
            outcomes.push((Later, moved(maybe_kept), Fault));
            // It moved and nobody heard of it; before it was asked for again, somebody with an older token ended the session.
            let ended = moved(maybe_kept).end(Refused).into_iter();
            outcomes.extend(ended.map(|(answer, world, _)| (answer, world, FaultInACrowd)));
            return outcomes;
        }
        if presented + 1 == self.generation && when.0 <= self.moved.1 + REFRESH_GRACE {
            outcomes.extend([(Tokens(self.generation), kept, Nothing), (Tokens(self.generation), maybe_kept, Fault)]);
        }
        if presented + 1 != self.generation || when.1 > self.moved.0 + REFRESH_GRACE {
            outcomes.extend(maybe_kept.end(Refused));
        }
        outcomes
    }

    fn end(self, answer: Answer) -> Vec<Outcome> {
        let over = World { life: Life::Over, ..self };
        let doubtful = World { life: self.life.max(Life::Doubtful), ..self };
        vec![(answer, over, Nothing), (Later, over, Fault), (Later, doubtful, Fault)]
    }
}
