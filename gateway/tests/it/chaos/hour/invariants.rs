//! I1 to I7, looked at after every step. What the load itself sees (I1, I5, and with which statuses, I7) is in `load.rs`; here is
//! what must be asked for.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::load::Shared;
use super::people::Door;
use super::stand::{REPLICAS, Stand};
use super::steps::{OF_STEPS, race, until};
use crate::support::browser::http_client;

/// What is remembered from one look to the next, and how much was looked at.
#[derive(Default)]
pub struct Invariants {
    /// Of each process: files, threads and resident KiB when it was settled, and how often it was looked at.
    settled: BTreeMap<u32, (usize, [u64; 3])>,
    /// How far each log has been read.
    read: [u64; REPLICAS],
    /// The calls that servers got.
    calls: HashSet<u64>,
    pub bytes_searched: u64,
    /// The ends of all that was ever secret: what was given out long ago may be told of late.
    secrets: HashSet<[u8; TAIL]>,
    pub probes: u64,
    pub sessions_asked: u64,
    /// The most that a process grew by, in files and resident KiB.
    pub grown: [i64; 2],
}

/// The end of a code or token is as good as the whole of it: it is random there.
const TAIL: usize = 16;
/// Connections that clients keep for later, and streams, are at one replica or another by chance.
const FILES_MORE: u64 = 40;
const MEMORY_MORE: u64 = 8 * 1024;
/// The edge itself keeps idle connections to servers for 45 seconds, as many as there were calls at once.
const SETTLES: Duration = Duration::from_secs(55);
const USED_TO: usize = 3;

impl Invariants {
    /// All that is not all right, in words. `loses`: what was given out since `during` may be lost.
    pub async fn check(&mut self, stand: &Stand, shared: &Shared, loses: bool, during: u64) -> Vec<String> {
        let mut violations = Vec::new();
        self.sessions(stand, shared, loses, during, &mut violations).await;
        self.single_use(stand, &mut violations).await;
        self.secrets(stand, &mut violations).await;
        self.resources(stand, &mut violations).await;
        self.duplicates(stand, &mut violations);
        violations
    }

    /// I4: whoever was signed in before the step still is, at every replica; and who left is nobody any more.
    async fn sessions(
        &mut self,
        stand: &Stand,
        shared: &Shared,
        loses: bool,
        during: u64,
        violations: &mut Vec<String>,
    ) {
        let _paused = shared.paused.write().await;
        let known = shared.known.lock().unwrap().clone();
        for signed in &known {
            self.sessions_asked += REPLICAS as u64;
            let status = until(stand, &signed.access, 200).await;
            if status != 200 {
                violations.push(format!("I4: {} is answered {status}, and has not left", signed.oid));
            }
        }
        let mut guests = shared.guests.lock().unwrap().clone();
        // Whose tokens are of the time in which a failover may lose some sign in again: their access token may be good and
        // the refresh token beside it not be known.
        guests.retain(|guest| !loses || guest.since < during);
        let mut kept = Vec::new();
        for guest in guests {
            self.sessions_asked += REPLICAS as u64;
            let status = until(stand, &guest.signed.access, 200).await;
            match status {
                200 => kept.push(guest),
                _ => violations.push(format!("I4: guest {} is answered {status}", guest.signed.oid)),
            }
        }
        *shared.guests.lock().unwrap() = kept;
        let left = std::mem::take(&mut *shared.left.lock().unwrap());
        for (signed, phase) in left {
            let status = until(stand, &signed.access, 401).await;
            // What was said within a failover may be lost; what was said before it has reached the replica.
            if status != 401 && !(loses && phase >= during) {
                violations.push(format!("I3: {} has left and is answered {status}", signed.oid));
            }
        }
    }

    /// I3: one code has one winner, whose tokens end by the replays; of refresh tokens the next but one is the end.
    async fn single_use(&mut self, stand: &Stand, violations: &mut Vec<String>) {
        self.probes += 1;
        let doors: Vec<Door> = (0..REPLICAS).map(|replica| stand.at(replica)).collect();
        match stand.door.code_again(OF_STEPS).await {
            Err(refusal) => violations.push(format!("I3: no code after the step: {refusal}")),
            Ok(code) => {
                let (answers, token) = race(&doors, &code, 6).await;
                let (after, later) = race(&doors, &code, 3).await;
                let won = answers.of(200) + after.of(200);
                if won != 1 || !answers.only(&[200, 400, 503]) {
                    violations.push(format!("I3: a code was redeemed [{answers}], then [{after}]"));
                }
                if let Some(token) = token.or(later) {
                    let status = until(stand, &token, 401).await;
                    if status != 401 {
                        violations.push(format!("I3: a replayed code's token is answered {status}"));
                    }
                }
            }
        }
        if let Err(what) = Self::rotation(stand, &doors).await {
            violations.push(what);
        }
    }

    async fn rotation(stand: &Stand, doors: &[Door]) -> Result<(), String> {
        let first = stand
            .door
            .sign_in_again(OF_STEPS)
            .await
            .map_err(|refusal| format!("I3: no sign-in after the step: {refusal}"))?;
        let refresh = async |door: &Door, token: &str| {
            // A busy machine may have Redis late once.
            for _ in 0..3 {
                let (status, tokens) = door.refresh(token).await;
                if status != 503 {
                    return (status, tokens);
                }
                sleep(Duration::from_millis(500)).await;
            }
            (503, serde_json::Value::Null)
        };
        let (status, second) = refresh(&doors[0], &first.refresh).await;
        let second =
            second["refresh_token"].as_str().ok_or(format!("I3: a refresh after the step: {status}"))?.to_owned();
        let (status, third) = refresh(&doors[1], &second).await;
        let third = third["access_token"].as_str().ok_or(format!("I3: a second refresh: {status}"))?.to_owned();
        let (status, _) = refresh(&doors[2], &first.refresh).await;
        if status != 400 {
            return Err(format!("I3: a refresh token that was used twice over is answered {status}"));
        }
        match until(stand, &third, 401).await {
            401 => Ok(()),
            status => Err(format!("I3: after the reuse of a refresh token its session is answered {status}")),
        }
    }

    /// I2: no secret in logs, metrics, or what Redis holds.
    async fn secrets(&mut self, stand: &Stand, violations: &mut Vec<String>) {
        let given = std::mem::take(&mut *stand.door.given.lock().unwrap());
        let secrets = stand.entra.canaries().into_iter().chain(given);
        self.secrets.extend(secrets.filter_map(|secret| secret.as_bytes().last_chunk::<TAIL>().copied()));
        let mut places: Vec<(String, Vec<u8>)> = Vec::new();
        for replica in 0..REPLICAS {
            let mut text = Vec::new();
            let mut log = File::open(stand.log(replica)).unwrap();
            log.seek(SeekFrom::Start(self.read[replica])).unwrap();
            self.read[replica] += log.read_to_end(&mut text).unwrap() as u64;
            if let Some(line) = String::from_utf8_lossy(&text).lines().find(|line| line.contains("panicked")) {
                violations.push(format!("I5: replica {replica} panicked: {line}"));
            }
            places.push((format!("the log of replica {replica}"), text));
            let metrics = http_client().get(stand.edges[replica].admin_url("/metrics")).send().await;
            match metrics {
                Ok(metrics) => places.push((format!("metrics of {replica}"), metrics.bytes().await.unwrap().to_vec())),
                Err(error) => violations.push(format!("I5: no metrics of replica {replica}: {error:?}")),
            }
        }
        places.extend(stand.redis.dumps().into_iter().map(|dump| ("Redis".to_owned(), dump)));
        for (place, bytes) in places {
            self.bytes_searched += bytes.len() as u64;
            let found = bytes.windows(TAIL).any(|window| self.secrets.contains(window));
            if found {
                violations.push(format!("I2: {place} holds a secret"));
            }
        }
    }

    /// I6: within a minute each process is as it was when it was settled.
    async fn resources(&mut self, stand: &Stand, violations: &mut Vec<String>) {
        let started = Instant::now();
        for edge in &stand.edges {
            let (looked, settled) = *self.settled.entry(edge.id()).or_default();
            if looked < USED_TO {
                let (memory, threads) = edge.memory_and_threads();
                self.settled.insert(edge.id(), (looked + 1, [edge.files(), threads, memory]));
                continue;
            }
            let [files, threads, memory] = settled;
            loop {
                let (memory_now, threads_now) = edge.memory_and_threads();
                let files_now = edge.files();
                let more = |was: u64, by: u64| was + was / 50 + by;
                let back = files_now <= more(files, FILES_MORE)
                    && threads_now <= more(threads, 2)
                    && memory_now <= more(memory, MEMORY_MORE);
                if back {
                    let grown = [files_now as i64 - files as i64, memory_now as i64 - memory as i64];
                    (0..2).for_each(|at| self.grown[at] = self.grown[at].max(grown[at]));
                    break;
                }
                if started.elapsed() > SETTLES {
                    violations.push(format!(
                        "I6: {files_now} files, {threads_now} threads, {memory_now} KiB at port {}, and were {files}, \
                         {threads}, {memory}",
                        edge.port
                    ));
                    // Told once, and not after each step that follows.
                    self.settled.insert(edge.id(), (looked, [files_now, threads_now, memory_now]));
                    break;
                }
                sleep(Duration::from_millis(250)).await;
            }
        }
    }

    /// R10, in every step: no call reaches a server twice.
    fn duplicates(&mut self, stand: &Stand, violations: &mut Vec<String>) {
        for seen in stand.servers.iter().flat_map(|server| server.take_seen()) {
            if let Ok(number) = seen.parse::<u64>()
                && !self.calls.insert(number)
            {
                violations.push(format!("R10: call {number} reached a server twice"));
            }
        }
    }

    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    pub fn secrets_sought(&self) -> usize {
        self.secrets.len()
    }
}

/// How long until people can sign in at every replica; what stood in the way when they cannot.
pub async fn recovered(stand: &Stand, limit: Duration) -> Result<Duration, String> {
    let started = Instant::now();
    loop {
        let doors = (0..REPLICAS).map(async |replica| stand.at(replica).sign_in(OF_STEPS).await.err());
        let refusals: Vec<_> = join_all(doors).await.into_iter().flatten().collect();
        let Some(refusal) = refusals.into_iter().next() else { return Ok(started.elapsed()) };
        if started.elapsed() > limit {
            return Err(format!("I4: no recovery within {limit:?}: {refusal}"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
