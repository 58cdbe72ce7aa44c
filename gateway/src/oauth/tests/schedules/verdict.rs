//! Whether an answer is right: what the model says of codes and refresh tokens, and of calls what may stand between the end of a
//! session and the last replica that hears of it.

use std::collections::BTreeSet;

use super::deeds::{Deed, Outcome, Who};
use super::family::Family;
use super::play::Run;
use super::replicas::Told;
use super::world::{Amiss, Answer, Life, Span, Step};
use crate::sealed::Index;

/// For how long a replica need not ask the store; while it knows that it hears nothing; and while the store is out.
const FRESH: u64 = 30;
const FRESH_UNHEARD: u64 = 1;
const STALE: u64 = 300;
/// A question that was asked before may be answered so much later.
const QUESTION: u64 = 2;
/// A lock that nobody gives back ends by itself, and until then nobody writes that a session goes on.
const LOCK: u64 = 12;

pub struct UnderWay {
    deed: Deed,
    replica: usize,
    since: u64,
    faults: u64,
    families: BTreeSet<usize>,
    crossed: bool,
    /// Of a sign-in: operators' revocations of its user that came between.
    revoked_meanwhile: bool,
    /// And of one of them nobody heard that it was done.
    doubted: bool,
    /// Of an operator's revocation: what else of its user came between.
    meets: Meets,
    /// Of a call: it must not be admitted, and whether that holds though the store fails.
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Default)]
struct Meets {
    sign_in: bool,
    revocation: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    ForSure,
    UnlessTheStoreFails,
}

impl Run<'_> {
    pub fn comes_under_way(&mut self, number: u64, replica: usize, deed: &Deed) {
        let now = self.now();
        let families = self.meant_by(deed);
        let ended = match deed {
            Deed::Call { .. } => families.first().and_then(|family| self.ended_for(&self.families[*family], replica)),
            _ => None,
        };
        let (mut revoked_meanwhile, mut meets) = (false, Meets::default());
        for other in self.under_way.values_mut() {
            match (&other.deed, deed) {
                (Deed::SignIn { user, .. }, Deed::Revoke { user: revoked }) if user == revoked => {
                    (other.revoked_meanwhile, meets.sign_in) = (true, true);
                }
                (Deed::Revoke { user: revoked }, Deed::SignIn { user, .. }) if user == revoked => {
                    (revoked_meanwhile, other.meets.sign_in) = (true, true);
                }
                (Deed::Revoke { user: one }, Deed::Revoke { user }) if one == user => {
                    (other.meets.revocation, meets.revocation) = (true, true);
                    // It may still be at one that began before this.
                    meets.sign_in |= other.meets.sign_in;
                }
                _ => {}
            }
        }
        if let Some(step) = deed.step() {
            for family in &families {
                self.families[*family].begins(number, step, now);
            }
        }
        let mut crossed = false;
        for other in self.under_way.values_mut() {
            if !other.families.is_disjoint(&families) {
                (other.crossed, crossed) = (true, true);
            }
        }
        self.tally.crossed += u64::from(crossed);
        let (deed, faults) = (deed.clone(), self.replicas.desk.faults());
        let doubted = false;
        let under_way =
            UnderWay { deed, replica, since: now, faults, families, crossed, revoked_meanwhile, doubted, meets, ended };
        self.under_way.insert(number, under_way);
    }

    fn meant_by(&self, deed: &Deed) -> BTreeSet<usize> {
        let means = |family: &Family| match deed {
            Deed::SignIn { .. } => false,
            Deed::Redeem { code, .. } => family.code == *code,
            Deed::Refresh { token, .. } => family.refresh_tokens.values().any(|known| known == token),
            Deed::SignOut { token, .. } => {
                family.refresh_tokens.values().any(|known| known == token)
                    || family.access_tokens.iter().any(|known| known.text == *token)
            }
            Deed::Revoke { user } => family.user == *user,
            Deed::Call { token, .. } => family.access_tokens.iter().any(|known| known.text == *token),
        };
        let meant = self.families.iter().enumerate().filter(|(_, family)| means(family));
        meant.map(|(place, _)| place).collect()
    }

    /// Whether a call of this session at this replica must be refused.
    fn ended_for(&self, family: &Family, replica: usize) -> Option<Ended> {
        let desk = &self.replicas.desk;
        let heard = family.session.and_then(|session| desk.heard(replica, &session.0));
        // Of a revocation that came to no end, what was heard counts for as long as it is remembered.
        let remembered = heard.is_some_and(|at| family.over.is_some() || self.now() < at + STALE);
        if remembered || family.ended_at.contains(&replica) {
            return Some(Ended::ForSure);
        }
        let since = self.now() - family.over?;
        let fresh = if desk.hears(replica) { FRESH } else { FRESH_UNHEARD };
        match since {
            _ if since >= STALE + QUESTION => Some(Ended::ForSure),
            _ if since >= fresh + QUESTION => Some(Ended::UnlessTheStoreFails),
            _ => None,
        }
    }

    pub fn is_given_up(&mut self, number: u64) {
        let now = self.now();
        self.troubled = Some(now);
        let Some(gone) = self.under_way.remove(&number) else { return };
        self.tally.deed(gone.deed.name(), "unheard".to_owned());
        self.doubts_who_begins(&gone.deed);
        if gone.deed.step().is_some() {
            for family in gone.families {
                let explained = self.families[family].answered(number, None, Amiss::FaultInACrowd, false, now);
                explained.expect("nothing was answered");
            }
        }
    }

    /// A session that is just beginning may be over where its user's were to be ended, and nowhere else.
    fn doubts_who_begins(&mut self, deed: &Deed) {
        let Deed::Revoke { user: revoked } = deed else { return };
        for other in self.under_way.values_mut() {
            other.doubted |= matches!(&other.deed, Deed::SignIn { user, .. } if user == revoked);
        }
    }

    pub fn is_answered(&mut self, number: u64, outcome: Outcome) -> Result<(), String> {
        let now = self.now();
        let Some(done) = self.under_way.remove(&number) else { return Ok(()) };
        let failed = self.replicas.desk.faults() > done.faults;
        if failed {
            self.troubled = Some(now);
        }
        let amiss = match (failed, done.crossed) {
            (true, true) => Amiss::FaultInACrowd,
            (true, false) => Amiss::Fault,
            (false, true) => Amiss::Crowd,
            (false, false) => Amiss::Nothing,
        };
        let judged = match outcome {
            Outcome::SignedIn(code) => self.signed_in(number, &done, code, failed),
            Outcome::Told(told) => told.and_then(|told| self.told(number, &done, told, amiss)),
            Outcome::Ended(ended) => ended.and_then(|ended| self.ended(number, &done, ended, amiss)),
            Outcome::Called(answer, admitted) => self.called(number, &done, answer, admitted, failed),
        };
        judged.map_err(|violation| format!("{number} {}: {violation}", done.deed.name()))
    }

    fn signed_in(&mut self, number: u64, done: &UnderWay, code: Option<String>, failed: bool) -> Result<(), String> {
        let Deed::SignIn { user, entra_token, entra_lives } = &done.deed else { unreachable!("it is a sign-in") };
        let now = self.now();
        self.note(|| format!("{number} -> {}", if code.is_some() { "a code" } else { "later" }));
        self.tally.deed(done.deed.name(), if code.is_some() { "Done" } else { "Later" }.to_owned());
        let Some(code) = code else {
            let excused = failed || done.revoked_meanwhile;
            return if excused { Ok(()) } else { Err("nothing was amiss, and there is no code".to_owned()) };
        };
        let lives: &[Life] = match (done.revoked_meanwhile, done.doubted) {
            (false, _) => &[Life::Lives],
            (true, false) => &[Life::Lives, Life::Over],
            (true, true) => &[Life::Lives, Life::Doubtful, Life::Over],
        };
        let mut family = Family::new(code, user.clone(), entra_token.clone(), (done.since, now), *entra_lives, lives);
        let place = self.families.len();
        for (other, under_way) in &mut self.under_way {
            if matches!(&under_way.deed, Deed::Revoke { user } if *user == family.user) {
                family.begins(*other, Step::Revoke { surely: false }, now);
                under_way.families.insert(place);
            }
        }
        self.families.push(family);
        Ok(())
    }

    fn told(&mut self, number: u64, done: &UnderWay, told: Told, amiss: Amiss) -> Result<(), String> {
        let now = self.now();
        let Told { answer, tokens } = told;
        self.note(|| format!("{number} -> {answer:?}"));
        self.tally.deed(done.deed.name(), format!("{answer:?}").split('(').next().unwrap_or_default().to_owned());
        let Some(place) = done.families.first() else { return Err("a token of nobody's was answered".to_owned()) };
        let kept = self.troubled.is_none_or(|at| at + LOCK < done.since);
        let family = &mut self.families[*place];
        family.answered(number, Some(answer), amiss, kept, now)?;
        self.tally.worlds = self.tally.worlds.max(family.worlds());
        let Some(tokens) = tokens else { return Ok(()) };
        if *family.session.get_or_insert(tokens.session) != tokens.session {
            return Err("tokens of another session".to_owned());
        }
        let Answer::Tokens(generation) = answer else { return Err("tokens with an error".to_owned()) };
        let known = family.refresh_tokens.entry(generation).or_insert_with(|| tokens.refresh_token.clone());
        if *known != tokens.refresh_token {
            return Err("one generation, two refresh tokens".to_owned());
        }
        family.given(tokens.access_token, tokens.expires_in, done.since, now)
    }

    fn ended(
        &mut self,
        number: u64,
        done: &UnderWay,
        (answer, ended): (Answer, usize),
        amiss: Amiss,
    ) -> Result<(), String> {
        let now = self.now();
        self.note(|| format!("{number} -> {answer:?}"));
        self.tally.deed(done.deed.name(), format!("{answer:?}"));
        if answer != Answer::Done {
            self.doubts_who_begins(&done.deed);
        }
        // One that is just beginning is between its listing and its record, and another revocation has taken the former.
        if answer == Answer::Unsure && !(done.meets.sign_in && done.meets.revocation) && self.troubled.is_none() {
            return Err("all listings are there".to_owned());
        }
        if done.families.is_empty() && answer == Answer::Later && amiss < Amiss::Fault {
            return Err("nothing was amiss".to_owned());
        }
        let amiss = if answer == Answer::Unsure { Amiss::FaultInACrowd } else { amiss };
        for place in &done.families {
            let family = &mut self.families[*place];
            family.answered(number, Some(answer), amiss, true, now)?;
            // An operator may find that there is nothing to end any more, and then nothing is remembered here.
            let ends = !matches!(done.deed, Deed::SignOut { client: Who::Other, .. }) && ended == done.families.len();
            if ends && answer == Answer::Done && family.over.is_some() {
                family.ended_at.insert(done.replica);
            }
        }
        Ok(())
    }

    fn called(
        &mut self,
        number: u64,
        done: &UnderWay,
        answer: Answer,
        admitted: Option<(Index, String)>,
        failed: bool,
    ) -> Result<(), String> {
        let Deed::Call { expires, elsewhere, .. } = &done.deed else { unreachable!("it is a call") };
        let now = self.now();
        self.note(|| format!("{number} -> {answer:?}"));
        self.tally.deed(done.deed.name(), format!("{answer:?}"));
        let family = &self.families[*done.families.first().ok_or("a token of nobody's was used")?];
        match answer {
            Answer::Later if failed => Ok(()),
            Answer::Later => Err("nothing was amiss".to_owned()),
            Answer::Refused if *elsewhere || now >= expires.0 || !family.lives_for_sure(now) => Ok(()),
            Answer::Refused => Err(format!("a session that lives was refused, with {failed} faults")),
            Answer::Tokens(_) | Answer::Unsure => Err(format!("{answer:?} for a call")),
            Answer::Done => self.may_be_admitted(family, done, *expires, *elsewhere, failed, admitted),
        }
    }

    fn may_be_admitted(
        &self,
        family: &Family,
        done: &UnderWay,
        expires: Span,
        elsewhere: bool,
        failed: bool,
        admitted: Option<(Index, String)>,
    ) -> Result<(), String> {
        let who = admitted.map(|(session, bearer)| (Some(session), bearer));
        if who != Some((family.session, format!("Bearer {}", family.entra_token))) {
            return Err("admitted as somebody else".to_owned());
        }
        if elsewhere || done.since >= expires.1 {
            return Err("a token of another resource, or one that has expired, was admitted".to_owned());
        }
        match done.ended {
            Some(Ended::ForSure) => Err("its end is known here".to_owned()),
            Some(Ended::UnlessTheStoreFails) if !failed => {
                Err(format!("it is over since {:?} s, and nothing was amiss", family.over))
            }
            _ => Ok(()),
        }
    }
}
