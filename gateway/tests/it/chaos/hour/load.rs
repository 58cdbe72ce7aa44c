//! What goes on all the time: calls of people who stay signed in, event streams, and people who come, refresh and leave. What
//! becomes of each is noted under the phase in which it began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

use super::people::{Door, client, is_about};
use crate::chaos::Tally;
use crate::chaos::rig::Signed;
use crate::support::chance::Chance;

/// A call that takes longer hangs (I5); of the steps of a sign-in each may wait for Entra, which has ten seconds.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
const SIGN_IN_DEADLINE: Duration = Duration::from_secs(20);
/// Events come every five seconds at the least: so long without one is longer than any fault here lasts.
const SILENCE: Duration = Duration::from_secs(20);

const RETRIED: Duration = Duration::from_secs(25);

/// Between one stream's opening and the next one's at the start: all at once would be a herd, which is a fault of its own.
const APART: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
pub struct Rates {
    pub calls_per_second: u32,
    pub streams: usize,
    /// One of them comes, refreshes, calls or leaves so often.
    pub churn: Duration,
}

/// What became of what began in one phase.
#[derive(Default)]
pub struct Seen {
    pub ops: BTreeMap<&'static str, Tally>,
    pub slowest: BTreeMap<&'static str, Duration>,
    /// I1 and I5, in words.
    pub violations: Vec<String>,
    /// What else than 200 was said, the first few.
    pub said: Vec<String>,
    pub ended: u64,
    /// Broken off, by the server that had them.
    pub cut: [u64; 2],
    pub events: u64,
}

/// Someone who comes and leaves.
#[derive(Clone)]
pub struct Guest {
    pub signed: Signed,
    pub since: u64,
}

pub struct Shared {
    pub door: Door,
    fresh: Door,
    /// Who stays.
    pub known: Mutex<Vec<Signed>>,
    pub guests: Mutex<Vec<Guest>>,
    /// Who was told that they are signed out, and in which phase.
    pub left: Mutex<Vec<(Signed, u64)>>,
    /// Taken by who signs in, and alone by who changes how long tokens live.
    pub lives: tokio::sync::RwLock<()>,
    started: Instant,
    seen: Mutex<BTreeMap<u64, Seen>>,
    phase: AtomicU64,
    next: AtomicU64,
    over: AtomicBool,
    /// Guests stay as they are while they are looked at.
    pub paused: tokio::sync::RwLock<()>,
}

pub struct Load {
    pub shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(door: &Door, known: Vec<Signed>, rates: Rates, seed: u64) -> Self {
        let fresh = Door { http: client(false), ..door.clone() };
        let shared = Arc::new(Shared {
            door: door.clone(),
            fresh,
            known: Mutex::new(known),
            guests: Mutex::default(),
            left: Mutex::default(),
            lives: tokio::sync::RwLock::default(),
            started: Instant::now(),
            seen: Mutex::default(),
            phase: AtomicU64::new(0),
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
            paused: tokio::sync::RwLock::default(),
        });
        let mut tasks = vec![tokio::spawn(call(shared.clone(), rates.calls_per_second, seed))];
        tasks.extend((0..rates.streams).map(|number| tokio::spawn(listen(shared.clone(), number))));
        if !rates.churn.is_zero() {
            tasks.push(tokio::spawn(come_and_go(shared.clone(), rates.churn, seed)));
        }
        Self { shared, tasks }
    }

    /// Ends it; what is under way is awaited.
    pub async fn stop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }
}

impl Shared {
    pub fn phase(&self) -> u64 {
        self.phase.load(Ordering::SeqCst)
    }

    /// From now on things belong to the next one.
    pub fn next_phase(&self) -> u64 {
        self.phase.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// What became of all that began in these phases.
    pub fn take(&self, phases: &[u64]) -> Seen {
        let mut all = Seen::default();
        let mut seen = self.seen.lock().unwrap();
        for seen in phases.iter().filter_map(|phase| seen.remove(phase)) {
            all.join(seen);
        }
        all
    }

    /// What came too late to be taken with its phase.
    pub fn take_late(&self) -> BTreeMap<u64, Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// An id that no other call has.
    pub fn new_call(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    pub fn note(&self, phase: u64) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        let mut seen = self.seen.lock().unwrap();
        seen.entry(phase).or_default();
        seen
    }

    /// Of which phase something is that began in that one: what a fault overtakes is the fault's. Faults are the odd ones.
    fn phase_of(&self, begun: u64) -> u64 {
        if begun.is_multiple_of(2) && self.phase() > begun { begun + 1 } else { begun }
    }

    fn add(&self, begun: u64, op: &'static str, status: u16, took: Duration, said: &str) {
        let phase = self.phase_of(begun);
        let mut seen = self.note(phase);
        let seen = seen.get_mut(&phase).unwrap();
        seen.ops.entry(op).or_default().add(status);
        let slowest = seen.slowest.entry(op).or_default();
        *slowest = took.max(*slowest);
        let limit = if op == "sign-in" { SIGN_IN_DEADLINE } else { CALL_DEADLINE };
        if took > limit {
            seen.violations.push(format!("I5: {op} took {took:.1?} ({status} {said})"));
        }
        if status != 200 && seen.said.len() < 8 {
            seen.said.push(format!("{op} {status} {said}, {:.0?} after the start", self.started.elapsed()));
        }
    }

    fn violated(&self, phase: u64, what: String) {
        self.note(phase).get_mut(&phase).unwrap().violations.push(what);
    }

    /// Someone signs in through the balancer.
    pub async fn sign_in(&self, user: usize) -> Option<Signed> {
        let _lives = self.lives.read().await;
        let (phase, begun) = (self.phase(), Instant::now());
        match self.door.sign_in(user).await {
            Ok(signed) => {
                self.add(phase, "sign-in", 200, begun.elapsed(), "");
                Some(signed)
            }
            Err(refusal) => {
                self.add(phase, "sign-in", refusal.status, begun.elapsed(), &refusal.to_string());
                None
            }
        }
    }

    async fn call_once(&self, door: &Door, op: &'static str, signed: &Signed) -> u16 {
        let (phase, begun, id) = (self.phase(), Instant::now(), self.new_call());
        let (status, said) = door.call(&signed.access, &id).await;
        self.add(phase, op, status, begun.elapsed(), &format!("user {} {said}", signed.oid));
        if status == 200 && !is_about(&said, signed, &id) {
            self.violated(phase, format!("I1: {} asked {id} and was answered {said}", signed.oid));
        }
        status
    }

    /// The successor of what they had, or with which status there is none.
    pub async fn refresh(&self, door: &Door, signed: &Signed) -> Result<Signed, u16> {
        let (phase, begun) = (self.phase(), Instant::now());
        let (status, said) = door.refresh(&signed.refresh).await;
        self.add(phase, "refresh", status, begun.elapsed(), &format!("user {} {}", signed.oid, said["error"]));
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        match (text("access_token"), text("refresh_token")) {
            (Some(access), Some(refresh)) => Ok(Signed { oid: signed.oid.clone(), access, refresh }),
            _ => Err(status),
        }
    }

    /// As a client does that must know: whoever is told to come again does, well within the grace of a token that may have been
    /// used. Nothing where that is of no use; such a guest signs in again.
    async fn refresh_at_last(&self, signed: &Signed) -> Option<Signed> {
        let started = Instant::now();
        while started.elapsed() < RETRIED {
            match self.refresh(&self.door, signed).await {
                Ok(renewed) => return Some(renewed),
                Err(0 | 503) => sleep(Duration::from_millis(500)).await,
                Err(_) => return None,
            }
        }
        self.violated(self.phase(), format!("I4: {} was told to come again for {RETRIED:?}", signed.oid));
        None
    }

    async fn leave(&self, signed: &Signed) -> u16 {
        let (phase, begun) = (self.phase(), Instant::now());
        let status = self.door.revoke(&signed.refresh).await;
        self.add(phase, "revoke", status, begun.elapsed(), "");
        status
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

impl Seen {
    pub fn join(&mut self, other: Self) {
        for (op, tally) in other.ops {
            self.ops.entry(op).or_default().join(tally);
        }
        for (op, slowest) in other.slowest {
            let own = self.slowest.entry(op).or_default();
            *own = slowest.max(*own);
        }
        self.violations.extend(other.violations);
        self.said.extend(other.said);
        self.ended += other.ended;
        self.events += other.events;
        (0..2).for_each(|server| self.cut[server] += other.cut[server]);
    }

    pub fn of(&self, op: &str) -> Tally {
        self.ops.get(op).cloned().unwrap_or_default()
    }
}

/// At a steady rate, whether or not those before were answered; half of them over connections that are kept.
async fn call(shared: Arc<Shared>, rate: u32, seed: u64) {
    let mut chance = Chance::new(seed ^ 0xCA11);
    let mut ticks = interval(Duration::from_secs(1) / rate);
    let mut under_way = JoinSet::new();
    while !shared.is_over() {
        ticks.tick().await;
        let signed = chance.one_of(&shared.known.lock().unwrap()).clone();
        let shared = shared.clone();
        let kept = chance.below(2) == 0;
        under_way.spawn(async move {
            let door = if kept { &shared.door } else { &shared.fresh };
            shared.call_once(door, "call", &signed).await;
        });
        while let Some(ended) = under_way.try_join_next() {
            ended.unwrap();
        }
    }
    under_way.join_all().await;
}

/// One who listens, and comes again.
async fn listen(shared: Arc<Shared>, number: usize) {
    let http = reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap();
    let door = Door { http, ..shared.door.clone() };
    sleep(APART * u32::try_from(number).unwrap()).await;
    while !shared.is_over() {
        let signed = {
            let known = shared.known.lock().unwrap();
            known[number % known.len()].clone()
        };
        let (phase, begun) = (shared.phase(), Instant::now());
        let request = door.request(Method::GET, "/mcp").bearer_auth(&signed.access).header(ACCEPT, "text/event-stream");
        let status = match timeout(CALL_DEADLINE, request.send()).await {
            Ok(Ok(answer)) if answer.status() == 200 => {
                shared.add(phase, "stream", 200, begun.elapsed(), "");
                let hint = read(&shared, answer, &signed).await;
                sleep(hint.unwrap_or_default()).await;
                continue;
            }
            Ok(Ok(answer)) => answer.status().as_u16(),
            Ok(Err(_)) => 0,
            Err(_) => {
                shared.violated(phase, "I5: a stream was not opened in time".to_owned());
                0
            }
        };
        shared.add(phase, "stream", status, begun.elapsed(), &format!("user {}", signed.oid));
        sleep(Duration::from_millis(300)).await;
    }
}

/// To its end, which may tell when to come again; each event must be for who listens.
async fn read(shared: &Shared, mut answer: reqwest::Response, signed: &Signed) -> Option<Duration> {
    let (mut text, mut server) = (String::new(), 0);
    while !shared.is_over() {
        match timeout(SILENCE, answer.chunk()).await {
            Err(_) => {
                shared.violated(shared.phase(), format!("I5: nothing came to {} for {SILENCE:?}", signed.oid));
                return None;
            }
            Ok(Ok(Some(piece))) => text += &String::from_utf8_lossy(&piece),
            Ok(Ok(None)) => {
                let phase = shared.phase();
                shared.note(phase).get_mut(&phase).unwrap().ended += 1;
                let hint = text.rsplit_once("retry: ")?.1.trim().parse().ok()?;
                return Some(Duration::from_millis(hint));
            }
            Ok(Err(_)) => {
                let phase = shared.phase();
                shared.note(phase).get_mut(&phase).unwrap().cut[server] += 1;
                return None;
            }
        }
        while let Some((event, rest)) = text.split_once("\n\n") {
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                let event: Value = serde_json::from_str(data).unwrap_or_default();
                let phase = shared.phase();
                shared.note(phase).get_mut(&phase).unwrap().events += 1;
                server = usize::from(event["server"] == 1);
                if event["oid"] != signed.oid.as_str() {
                    shared.violated(phase, format!("I1: {} listens and is told {data}", signed.oid));
                }
            }
            // What tells when to come again has no data, and is the last.
            text = if event.contains("retry: ") { event.to_owned() } else { rest.to_owned() };
            if !text.contains("\n\n") {
                break;
            }
        }
    }
    None
}

/// Guests: up to twenty at a time.
async fn come_and_go(shared: Arc<Shared>, pause: Duration, seed: u64) {
    let mut chance = Chance::new(seed ^ 0x6E57);
    while !shared.is_over() {
        sleep(pause).await;
        let _unpaused = shared.paused.read().await;
        let number = shared.guests.lock().unwrap().len();
        let what = if number < 5 { 0 } else { chance.below(10) };
        if what < 3 && number < 20 {
            // Users of their own, so that who stays is not signed out by a guest.
            let user = super::stand::USERS / 2 + chance.below(super::stand::USERS as u64 / 2) as usize;
            if let Some(signed) = shared.sign_in(user).await {
                shared.guests.lock().unwrap().push(Guest { signed, since: shared.phase() });
            }
            continue;
        }
        let at = chance.below(number.max(1) as u64) as usize;
        let guest = shared.guests.lock().unwrap().swap_remove(at);
        match what {
            0..6 => {
                let (status, since) =
                    (shared.call_once(&shared.door, "guest's call", &guest.signed).await, guest.since);
                if status != 401 {
                    shared.guests.lock().unwrap().push(Guest { signed: guest.signed, since });
                }
            }
            6..9 => {
                if let Some(signed) = shared.refresh_at_last(&guest.signed).await {
                    shared.guests.lock().unwrap().push(Guest { signed, since: shared.phase() });
                }
            }
            _ => {
                // Otherwise perhaps it was done; a guest of whom it is not known is neither here nor gone.
                if shared.leave(&guest.signed).await == 200 {
                    shared.left.lock().unwrap().push((guest.signed, shared.phase()));
                }
            }
        }
    }
}
