//! Where everything that asks the store waits until the schedule lets it go on, and where announcements lie until the schedule
//! brings them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::store::{Announcement, Listener};

/// What becomes of a question to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// Done at once, and answered when it is let go on once more.
    AnsweredLate,
    /// Not done.
    Fails,
    /// Done, and nobody hears of it.
    Lost,
}

/// Shared by the replicas of one schedule.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Nobody waits any more, and nothing fails.
    open: bool,
    now: u64,
    waiting: Vec<Waiting>,
    faults: u64,
    ears: Vec<Ear>,
    asked: HashMap<&'static str, u64>,
}

struct Waiting {
    call: &'static str,
    replica: usize,
    /// Milliseconds.
    since: u64,
    goes_on: oneshot::Sender<Fate>,
}

/// Of one replica.
#[derive(Default)]
struct Ear {
    /// What was said and has not come yet.
    on_the_way: VecDeque<Vec<u8>>,
    inbox: Option<mpsc::UnboundedSender<Announcement>>,
    cut_off: bool,
    /// What the replica itself knows.
    hears: bool,
    /// And when, in milliseconds.
    heard: HashMap<Vec<u8>, u64>,
}

/// What there is to do at a replica's ear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Comes,
    IsLost,
    CutOff,
    Connected,
}

struct DeskListener {
    desk: Desk,
    replica: usize,
    inbox: mpsc::UnboundedReceiver<Announcement>,
    last: Option<Announcement>,
}

impl Desk {
    pub fn new(replicas: usize) -> Self {
        let ears = (0..replicas).map(|_| Ear::default()).collect();
        Self(Arc::new(Mutex::new(State { ears, ..State::default() })))
    }

    pub async fn wait(&self, replica: usize, call: &'static str) -> Fate {
        let gone_on = {
            let mut state = self.state();
            if state.open {
                return Fate::Done;
            }
            let (goes_on, gone_on) = oneshot::channel();
            let since = state.now;
            state.waiting.push(Waiting { call, replica, since, goes_on });
            gone_on
        };
        gone_on.await.unwrap_or(Fate::Done)
    }

    pub fn fault(&self) {
        self.state().faults += 1;
    }

    /// How often the store has failed somebody.
    pub fn faults(&self) -> u64 {
        self.state().faults
    }

    pub fn count(&self, call: &'static str) {
        *self.state().asked.entry(call).or_default() += 1;
    }

    pub fn asked(&self) -> HashMap<&'static str, u64> {
        self.state().asked.clone()
    }

    pub fn set(&self, now: u64) {
        self.state().now = now;
    }

    /// From here on nobody waits, or everybody does.
    pub fn open(&self, open: bool) {
        let mut state = self.state();
        state.open = open;
        if open {
            for waiting in state.waiting.drain(..) {
                let _ = waiting.goes_on.send(Fate::Done);
            }
        }
    }

    /// How many wait, and for how long the one that came first does.
    pub fn waiting(&self) -> (usize, u64) {
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.goes_on.is_closed());
        let first = state.waiting.iter().map(|waiting| waiting.since).min().unwrap_or(state.now);
        (state.waiting.len(), state.now - first)
    }

    /// Lets one go on, and says who it was.
    pub fn let_go_on(&self, place: usize, fate: Fate) -> (usize, &'static str) {
        let waiting = self.state().waiting.remove(place);
        // Whoever does not wait any more is none the worse for it.
        let _ = waiting.goes_on.send(fate);
        (waiting.replica, waiting.call)
    }

    /// Where the first question of this kind waits.
    pub fn place_of(&self, replica: usize, call: &str) -> Option<usize> {
        self.state().waiting.iter().position(|waiting| waiting.replica == replica && waiting.call == call)
    }

    pub fn announce(&self, message: &[u8]) {
        for ear in self.state().ears.iter_mut().filter(|ear| ear.inbox.is_some() && !ear.cut_off) {
            ear.on_the_way.push_back(message.to_vec());
        }
    }

    pub fn listen(&self, replica: usize) -> Box<dyn Listener> {
        let (inbox, receiver) = mpsc::unbounded_channel();
        let _ = inbox.send(Announcement::Listening);
        self.state().ears[replica].inbox = Some(inbox);
        Box::new(DeskListener { desk: self.clone(), replica, inbox: receiver, last: None })
    }

    /// What can happen at this ear now.
    pub fn words(&self, replica: usize) -> Vec<Word> {
        let state = self.state();
        let ear = &state.ears[replica];
        match (&ear.inbox, ear.cut_off, ear.on_the_way.is_empty()) {
            (None, ..) => vec![],
            (_, true, _) => vec![Word::Connected],
            (_, false, true) => vec![Word::CutOff],
            (_, false, false) => vec![Word::Comes, Word::IsLost, Word::CutOff],
        }
    }

    pub fn word(&self, replica: usize, word: Word) {
        let mut state = self.state();
        let ear = &mut state.ears[replica];
        let comes = match word {
            Word::Comes => ear.on_the_way.pop_front().map(Announcement::Said),
            Word::IsLost => {
                ear.on_the_way.pop_front();
                None
            }
            Word::CutOff => {
                ear.on_the_way.clear();
                ear.cut_off = true;
                Some(Announcement::Lost)
            }
            Word::Connected => {
                ear.cut_off = false;
                Some(Announcement::Listening)
            }
        };
        if let (Some(inbox), Some(comes)) = (&ear.inbox, comes) {
            let _ = inbox.send(comes);
        }
    }

    /// When the replica took note of this announcement last, in seconds.
    pub fn heard(&self, replica: usize, message: &[u8]) -> Option<u64> {
        self.state().ears[replica].heard.get(message).map(|at| at / 1000)
    }

    /// Whether it believes that it hears everything.
    pub fn hears(&self, replica: usize) -> bool {
        self.state().ears[replica].hears
    }

    fn taken_note(&self, replica: usize, announcement: Announcement) {
        let mut state = self.state();
        let now = state.now;
        let ear = &mut state.ears[replica];
        match announcement {
            Announcement::Listening => ear.hears = true,
            Announcement::Lost => ear.hears = false,
            Announcement::Said(message) => drop(ear.heard.insert(message, now)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl Listener for DeskListener {
    async fn next(&mut self) -> Announcement {
        // Who asks for the next one is done with the one before.
        if let Some(last) = self.last.take() {
            self.desk.taken_note(self.replica, last);
        }
        match self.inbox.recv().await {
            Some(announcement) => self.last.insert(announcement).clone(),
            None => std::future::pending().await,
        }
    }
}
