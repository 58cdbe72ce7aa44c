//! One schedule: who does what, who goes on, what fails and what time passes, all as chance has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{AbortHandle, yield_now};

use super::between::Missing;
use super::chance::Chance;
use super::deeds::{Deed, Outcome, Scene, Who};
use super::desk::{Fate, Word};
use super::family::Family;
use super::replicas::{Installation, REPLICAS, Replicas};
use super::tally::Tally;
use super::verdict::UnderWay;
use crate::secret::repeated;

/// Users, who may have several sessions each.
pub const USERS: [&str; 2] = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"];
/// Lives, graces and bounds, and what lies right before and after them.
const MOMENTS: [u64; 14] = [1, 2, 3, 5, 15, 29, 30, 31, 44, 45, 46, 59, 60, 61];
const WHILES: [u64; 12] = [120, 299, 301, 599, 601, 840, 900, 1200, 1700, 1739, 1801, 3600];
/// Longer than any question to the store takes; milliseconds.
const PATIENCE: u64 = 2000;
const AT_ONCE: usize = 3;
const SESSIONS: usize = 4;

/// How a schedule ended.
pub struct Played {
    pub violation: Option<String>,
    /// What was done, for people.
    pub steps: Vec<String>,
    pub choices: Vec<u32>,
}

pub struct Run<'a> {
    pub replicas: Replicas,
    pub installation: &'a Installation,
    chance: Chance,
    pub families: Vec<Family>,
    pub under_way: BTreeMap<u64, UnderWay>,
    handles: BTreeMap<u64, AbortHandle>,
    outcomes: Arc<Mutex<Vec<(u64, Outcome)>>>,
    deeds: u64,
    /// Milliseconds since it began.
    elapsed: u64,
    /// How much may fail: nothing, little, much.
    trouble: usize,
    /// Second of the last fault.
    pub troubled: Option<u64>,
    steps: Option<Vec<String>>,
    pub tally: &'a mut Tally,
}

/// What can happen next.
#[derive(Clone, Copy)]
enum Move {
    LetGoOn,
    Tick,
    Begin,
    Pass,
    Word(usize, Word),
    GoAway,
}

/// Plays it. With `told` for people to read.
pub fn play(
    installation: &mut Installation,
    chance: Chance,
    missing: Option<Missing>,
    told: bool,
    tally: &mut Tally,
) -> Played {
    // So that a schedule is the same again, whatever was before it.
    repeated::from(7);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let replicas = installation.replicas(missing);
    let mut run = Run {
        replicas,
        installation,
        chance,
        families: Vec::new(),
        under_way: BTreeMap::new(),
        handles: BTreeMap::new(),
        outcomes: Arc::default(),
        deeds: 0,
        elapsed: 0,
        trouble: 0,
        troubled: None,
        steps: told.then(Vec::new),
        tally,
    };
    let violation = runtime.block_on(run.whole()).err();
    for (call, count) in run.replicas.desk.asked() {
        *run.tally.store.entry(call).or_default() += count;
    }
    run.tally.ended();
    let Run { steps, chance, .. } = run;
    Played { violation, steps: steps.unwrap_or_default(), choices: chance.made() }
}

impl Run<'_> {
    async fn whole(&mut self) -> Result<(), String> {
        self.trouble = self.chance.below(3);
        for _ in 0..=self.chance.below(2) {
            let deed = self.sign_in();
            self.begin(deed);
            self.settle().await?;
        }
        self.replicas.desk.open(false);
        let mut left = 6 + self.chance.below(15);
        for _ in 0..500 {
            if left == 0 && self.under_way.is_empty() {
                break;
            }
            let chosen = self.choose(left > 0);
            left -= usize::from(matches!(chosen, Move::Begin));
            self.make(chosen).await;
            self.tally.steps += 1;
            self.settle().await?;
        }
        self.in_the_end().await
    }

    fn choose(&mut self, more: bool) -> Move {
        let desk = &self.replicas.desk;
        let ((waiting, longest), busy) = (desk.waiting(), self.under_way.len());
        let mut moves = Vec::new();
        if waiting > 0 {
            moves.push((8 + 4 * waiting.min(5), Move::LetGoOn));
        }
        if busy > 0 && longest < PATIENCE {
            moves.push((3, Move::Tick));
        }
        if more && busy < AT_ONCE {
            moves.push((if busy == 0 { 12 } else { 6 }, Move::Begin));
        }
        if busy == 0 && waiting == 0 {
            moves.push((4, Move::Pass));
        }
        for replica in 0..REPLICAS {
            for word in desk.words(replica) {
                let weight = match word {
                    Word::Comes => 5,
                    Word::Connected => 2,
                    Word::IsLost | Word::CutOff => usize::from(self.trouble > 0),
                };
                moves.push((weight, Move::Word(replica, word)));
            }
        }
        if busy > 0 && self.trouble > 0 {
            moves.push((1, Move::GoAway));
        }
        let mut chosen = self.chance.below(moves.iter().map(|(weight, _)| weight).sum());
        for (weight, possible) in moves {
            match chosen.checked_sub(weight) {
                Some(rest) => chosen = rest,
                None => return possible,
            }
        }
        unreachable!("one of them is chosen")
    }

    async fn make(&mut self, chosen: Move) {
        match chosen {
            Move::LetGoOn => {
                let (waiting, _) = self.replicas.desk.waiting();
                let place = self.chance.below(waiting);
                let fate = match self.chance.below(100) {
                    choice if choice < 100 - 10 * self.trouble => Fate::Done,
                    choice if choice % 3 == 0 => Fate::Fails,
                    choice if choice % 3 == 1 => Fate::Lost,
                    _ => Fate::AnsweredLate,
                };
                // Without faults answers can be late all the same.
                let fate = if fate == Fate::Done && self.chance.percent(15) { Fate::AnsweredLate } else { fate };
                let (replica, call) = self.replicas.desk.let_go_on(place, fate);
                self.note(|| format!("  at {replica} {call}: {fate:?}"));
                self.tally.moved(match fate {
                    Fate::Done => "a question is answered",
                    Fate::AnsweredLate => "a question is answered late",
                    Fate::Fails => "a question fails",
                    Fate::Lost => "an answer is lost",
                });
            }
            Move::Tick => {
                let time = self.chance.one_of(&[50, 100, 500, 1000]);
                self.tally.moved("a moment passes");
                self.pass(time).await;
            }
            Move::Pass => {
                let long = self.chance.percent(20);
                let seconds = if long { self.chance.one_of(&WHILES) } else { self.chance.one_of(&MOMENTS) };
                self.tally.moved("time passes");
                self.pass(seconds * 1000).await;
            }
            Move::Begin => {
                if let Some(deed) = self.some_deed() {
                    // What a client does twice, or two who have the same, at the same time.
                    if self.chance.percent(20) && !matches!(deed, Deed::SignIn { .. }) {
                        self.tally.moved("a deed is done twice");
                        self.begin(deed.clone());
                    }
                    // Or who ends what is just used.
                    if self.chance.percent(15)
                        && let Deed::Refresh { token, .. } = &deed
                    {
                        self.begin(Deed::SignOut { token: token.clone(), client: Who::Owner });
                    }
                    self.begin(deed);
                }
            }
            Move::Word(replica, word) => {
                self.note(|| format!("  at {replica} what was announced {word:?}"));
                self.tally.moved(match word {
                    Word::Comes => "an announcement comes",
                    Word::IsLost => "an announcement is lost",
                    Word::CutOff => "a replica is cut off from announcements",
                    Word::Connected => "a replica hears announcements again",
                });
                self.replicas.desk.word(replica, word);
            }
            Move::GoAway => {
                let deeds: Vec<u64> = self.under_way.keys().copied().collect();
                let deed = self.chance.one_of(&deeds);
                self.tally.moved("a client goes away");
                self.go_away(deed);
            }
        }
    }

    /// Mostly what clients do; now and then what a thief would, or an operator.
    fn some_deed(&mut self) -> Option<Deed> {
        let place = self.chance.below(self.families.len().max(1));
        let who = |chance: &mut Chance| if chance.percent(8) { Who::Other } else { Who::Owner };
        let kind = self.chance.below(100);
        let family = self.families.get(place);
        // Whoever has no tokens yet gets some.
        let has_none = family.is_some_and(|family| family.refresh_tokens.is_empty());
        let kind = if kind < 65 && has_none { 80 } else { kind };
        Some(match kind {
            ..30 => {
                let tokens = family?.access_tokens.clone();
                let back = self.chance.one_of(&[0, 0, 0, 1, 2]);
                let token = tokens.iter().rev().nth(back).or(tokens.last())?.clone();
                Deed::Call { token: token.text, expires: token.expires, elsewhere: self.chance.percent(4) }
            }
            30..65 => {
                let tokens = family?.refresh_tokens.clone();
                let back = self.chance.one_of(&[0, 0, 0, 0, 1, 1, 2, 3]);
                let (generation, token) = tokens.iter().rev().nth(back).or(tokens.iter().next_back())?;
                let (token, generation) = (token.clone(), *generation);
                Deed::Refresh { token, generation, client: who(&mut self.chance) }
            }
            65..83 => {
                let code = family?.code.clone();
                Deed::Redeem { code, client: who(&mut self.chance), right: !self.chance.percent(15) }
            }
            83..90 => {
                let family = family?;
                let access = family.access_tokens.last().map(|token| token.text.clone());
                let token = family.refresh_tokens.values().next_back().cloned().or(access)?;
                Deed::SignOut { token, client: who(&mut self.chance) }
            }
            90..95 => Deed::Revoke { user: self.chance.one_of(&USERS).to_owned() },
            _ if self.families.len() < SESSIONS => self.sign_in(),
            _ => return None,
        })
    }

    fn sign_in(&mut self) -> Deed {
        let user = self.chance.one_of(&USERS).to_owned();
        // Entra's token outlives the session, or does not.
        let entra_lives = self.chance.one_of(&[86_400, 86_400, 900]);
        Deed::SignIn { user, entra_token: format!("entra-{}", self.deeds), entra_lives }
    }

    pub fn begin(&mut self, deed: Deed) {
        let replica = self.chance.below(REPLICAS);
        self.begin_at(replica, deed);
    }

    pub fn begin_at(&mut self, replica: usize, deed: Deed) {
        let number = self.deeds;
        self.deeds += 1;
        self.note(|| format!("{number} {} at {replica}{}", deed.name(), deed.details()));
        self.comes_under_way(number, replica, &deed);
        let scene = Scene {
            server: self.replicas.servers[replica].clone(),
            owner: self.installation.owner.clone(),
            other: self.installation.other.clone(),
            request: self.replicas.request.clone(),
        };
        let outcomes = self.outcomes.clone();
        let task = tokio::spawn(async move {
            let outcome = deed.done(scene).await;
            outcomes.lock().unwrap().push((number, outcome));
        });
        self.handles.insert(number, task.abort_handle());
    }

    fn go_away(&mut self, deed: u64) {
        self.note(|| format!("{deed} goes away"));
        if let Some(handle) = self.handles.remove(&deed) {
            handle.abort();
        }
        // What it held is nobody's until it ends by itself.
        self.replicas.desk.fault();
        self.is_given_up(deed);
    }

    /// Lets everybody run until all wait, and judges what was answered.
    pub async fn settle(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            yield_now().await;
        }
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap());
        for (deed, outcome) in outcomes {
            self.handles.remove(&deed);
            self.is_answered(deed, outcome)?;
        }
        Ok(())
    }

    pub async fn pass(&mut self, milliseconds: u64) {
        self.note(|| format!("  {milliseconds} ms pass"));
        let before = self.now();
        self.elapsed += milliseconds;
        self.replicas.desk.set(self.elapsed);
        self.replicas.clock.advance(Duration::from_secs(self.now() - before));
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
    }

    /// Seconds since it began.
    pub fn now(&self) -> u64 {
        self.elapsed / 1000
    }

    pub fn note(&mut self, step: impl FnOnce() -> String) {
        let now = self.elapsed;
        if let Some(steps) = &mut self.steps {
            steps.push(format!("{:>10.3} s  {}", now as f64 / 1000.0, step()));
        }
    }

    /// Everything is well again, and stays so: nobody hangs, all agree, and what is over is over everywhere.
    async fn in_the_end(&mut self) -> Result<(), String> {
        self.note(|| "everything is well again".to_owned());
        self.replicas.desk.open(true);
        for _ in 0..200 {
            self.settle().await?;
            if self.under_way.is_empty() {
                break;
            }
            self.pass(100).await;
        }
        if !self.under_way.is_empty() {
            return Err(format!("deeds that hang: {:?}", self.under_way.keys()));
        }
        for replica in 0..REPLICAS {
            while let Some(word) = self.replicas.desk.words(replica).into_iter().find(|word| *word != Word::CutOff) {
                self.replicas.desk.word(replica, word);
                self.settle().await?;
            }
        }
        for (round, seconds) in [31, 302, 0].into_iter().enumerate() {
            for place in 0..self.families.len() {
                for replica in 0..REPLICAS {
                    let token = self.families[place].access_tokens.last().cloned();
                    if let Some(token) = token {
                        let deed = Deed::Call { token: token.text, expires: token.expires, elsewhere: false };
                        self.one(replica, deed).await?;
                    }
                }
                let newest = self.families[place].refresh_tokens.iter().next_back();
                if let Some((generation, token)) = newest.map(|(generation, token)| (*generation, token.clone()))
                    && round == 0
                {
                    self.one(place % REPLICAS, Deed::Refresh { token, generation, client: Who::Owner }).await?;
                }
            }
            self.pass(seconds * 1000).await;
        }
        Ok(())
    }

    /// By itself, from its beginning to its end.
    async fn one(&mut self, replica: usize, deed: Deed) -> Result<(), String> {
        self.begin_at(replica, deed);
        for _ in 0..100 {
            self.settle().await?;
            if self.under_way.is_empty() {
                return Ok(());
            }
            self.pass(100).await;
        }
        Err("a deed hangs though nothing is amiss".to_owned())
    }
}
