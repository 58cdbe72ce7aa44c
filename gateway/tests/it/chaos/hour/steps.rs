//! How each fault is made and mended, and what of it only it can show.

use std::time::{Duration, Instant};

use fake_entra::{Match, Rotation};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::fault::{Answer, Away, Fault};
use super::load::Shared;
use super::people::Door;
use super::stand::{DRAIN, HELD, REPLICAS, Stand};
use crate::chaos::Tally;
use crate::chaos::edge_process::Launch;
use crate::chaos::rig::{Signed, upn};
use crate::support::browser::http_client;
use crate::support::chance::Chance;
use crate::support::fault_proxy::{Ending, Way};

/// Users that only steps sign in.
pub const OF_STEPS: usize = 28;
const AT_ONCE: usize = 40;
const EXIT: Duration = Duration::from_secs(6);

/// What a step has found out beside what the load sees.
#[derive(Default)]
pub struct Found {
    pub violations: Vec<String>,
    pub notes: Vec<String>,
    pub requests: u64,
}

impl Found {
    pub fn must(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(otherwise());
        }
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The fault, and its end.
pub async fn run(fault: Fault, stand: &mut Stand, shared: &Shared, chance: &mut Chance) -> Found {
    let mut found = Found::default();
    match fault {
        Fault::RedisSlow(by) => {
            stand.redis.to_servers(Way { latency: ms(by), ..Way::default() });
            sleep(Duration::from_secs(6)).await;
        }
        Fault::RedisPaused(length) => {
            for _ in 0..3 {
                stand.redis.tell_primary(&["CLIENT", "PAUSE", &length.to_string(), "ALL"]);
                sleep(ms(length + 1000)).await;
            }
        }
        Fault::RedisReset => {
            for _ in 0..3 {
                stand.redis.cut(Ending::Reset);
                sleep(ms(300 + chance.below(1000))).await;
            }
        }
        Fault::RedisAway(away, length) => {
            match away {
                Away::Reset => stand.redis.refuse(),
                Away::Blackhole => stand.redis.blackhole(),
                Away::Frozen => (0..2).for_each(|number| stand.redis.freeze(number)),
            }
            sleep(ms(length)).await;
        }
        Fault::PrimaryKilled(length) | Fault::PrimaryFrozen(length) => {
            match stand.redis.primary() {
                Some(primary) if matches!(fault, Fault::PrimaryKilled(_)) => stand.redis.kill(primary),
                Some(primary) => stand.redis.freeze(primary),
                None => found.violations.push("no sentinel names a primary".to_owned()),
            }
            unavailability(stand, &mut found, length).await;
        }
        Fault::FailOver => {
            let asked = stand.redis.fail_over();
            found.must(asked, || "the sentinels refuse a failover".to_owned());
            unavailability(stand, &mut found, 3000).await;
        }
        Fault::Flushed => flushed(stand, shared, &mut found).await,
        Fault::Races { codes, kill } => races(stand, codes, kill, chance, &mut found).await,
        Fault::Herd(calls) => herd(stand, shared, calls, &mut found).await,
        Fault::Entra(answer, length) => {
            stand.entra.fault(of_answer(answer));
            sleep(ms(length)).await;
            forget_faults(stand).await;
        }
        Fault::EntraNet(away, length) => {
            match away {
                Away::Reset => {
                    stand.to_entra.refuse(true);
                    stand.to_entra.cut(Ending::Reset);
                }
                _ => {
                    stand.to_entra.to_server(Way { blackhole: true, ..Way::default() });
                    stand.to_entra.to_client(Way { blackhole: true, ..Way::default() });
                }
            }
            sleep(ms(length)).await;
            stand.to_entra.heal();
        }
        Fault::KeysRolled => keys_rolled(stand, &mut found).await,
        Fault::ServerKilled(length) => {
            stand.servers[0].kill();
            sleep(ms(length)).await;
            stand.servers[0].start_again().await;
        }
        Fault::ServerFrozen(length) => {
            stand.servers[0].signal("-STOP");
            sleep(ms(length)).await;
            stand.servers[0].signal("-CONT");
        }
        Fault::ServerReset => {
            for _ in 0..4 {
                stand.to_server.cut(Ending::Reset);
                sleep(ms(200 + chance.below(800))).await;
            }
        }
        Fault::Rolling => rolling(stand, &mut found).await,
        Fault::Upgrade => upgrade(stand, &mut found).await,
        Fault::Clock { replica, seconds } => clock(stand, replica, seconds, &mut found).await,
        Fault::FewFiles { replica, clients } => few_files(stand, shared, replica, clients, &mut found).await,
    }
    stand.redis.heal().await;
    found
}

/// R4: how long sign-ins were told to come again, while the fault lasts.
async fn unavailability(stand: &Stand, found: &mut Found, length: u64) {
    let (started, mut failing, mut well) = (Instant::now(), None, None);
    while started.elapsed() < ms(length) {
        let asked = started.elapsed();
        found.requests += 1;
        match stand.door.sign_in(OF_STEPS).await {
            Ok(_) => well = well.or(failing.is_some().then(|| started.elapsed())),
            Err(_) => (failing, well) = (failing.or(Some(asked)), None),
        }
        sleep(ms(50)).await;
    }
    found.notes.push(match (failing, well) {
        (Some(from), Some(to)) => format!("no sign-ins for {:.1?}", to - from),
        (Some(_), None) => "no sign-ins to the end of it".to_owned(),
        _ => "sign-ins throughout".to_owned(),
    });
    if let (Some(from), Some(to)) = (failing, well) {
        found.must(to - from <= Duration::from_secs(6), || format!("R4: no sign-ins for {:?}", to - from));
    }
}

/// R5: after half a minute nobody is known, nothing that was used comes back, and the registration goes on.
async fn flushed(stand: &Stand, shared: &Shared, found: &mut Found) {
    let _paused = shared.paused.write().await;
    let code = stand.door.code(OF_STEPS).await;
    if let Ok(code) = &code {
        stand.door.redeem(code).await;
    }
    let flushed = stand.redis.tell_primary(&["FLUSHALL"]);
    found.must(flushed.as_deref() == Some("OK"), || format!("FLUSHALL: {flushed:?}"));
    sleep(Duration::from_secs(32)).await;
    let known = shared.known.lock().unwrap().clone();
    let mut lost = Tally::default();
    for signed in &known {
        for replica in 0..REPLICAS {
            lost.add(stand.at(replica).call(&signed.access, &shared.new_call()).await.0);
        }
    }
    found.requests += lost.all();
    found.must(lost.only(&[401]), || format!("R5: after FLUSHALL [{lost}]"));
    if let Ok(code) = code {
        let (status, _) = stand.door.redeem(&code).await;
        found.must(status == 400, || format!("I3: a used code after FLUSHALL: {status}"));
    }
    let mut again = Vec::new();
    for user in 0..known.len() {
        match stand.door.sign_in_again(user).await {
            Ok(signed) => again.push(signed),
            Err(refusal) => found.violations.push(format!("R5: user {user} cannot sign in again: {refusal}")),
        }
    }
    found.notes.push(format!("after half a minute [{lost}], {} signed in again", again.len()));
    if again.len() == known.len() {
        *shared.known.lock().unwrap() = again;
    }
    shared.guests.lock().unwrap().clear();
    shared.left.lock().unwrap().clear();
}

/// R6.
async fn races(stand: &mut Stand, codes: usize, kill: bool, chance: &mut Chance, found: &mut Found) {
    let victim = chance.below(2) as usize;
    let mut all = Tally::default();
    for number in 0..codes {
        let code = match stand.door.code_again(OF_STEPS).await {
            Ok(code) => code,
            Err(refusal) => {
                found.violations.push(format!("R6: no code: {refusal}"));
                continue;
            }
        };
        let killed = kill && number + 1 == codes;
        let delay = ms(chance.below(60));
        let doors: Vec<Door> = (0..REPLICAS).map(|replica| stand.at(replica)).collect();
        let race = race(&doors, &code, AT_ONCE);
        let end = async {
            if killed {
                sleep(delay).await;
                stand.edges[victim].kill();
            }
        };
        let ((answers, token), ()) = tokio::join!(race, end);
        if killed {
            stand.replace(victim, Launch::default()).await;
            let back = stand.until_all_are_targets().await;
            found.must(back, || "the killed replica does not come back".to_owned());
        }
        let mut won = answers.of(200);
        let allowed: &[u16] = if killed { &[0, 200, 400, 503] } else { &[200, 400, 503] };
        found.must(answers.only(allowed), || format!("R6: [{answers}]"));
        // Who was not answered may have won, and who was told to come again comes again.
        let (after, later) = race_of(stand, &code).await;
        won += after.of(200);
        found.must(won <= 1, || format!("I3: a code was redeemed {won} times: [{answers}], then [{after}]"));
        found.must(won == 1 || killed || answers.of(503) > 0, || format!("R6: nobody won: [{answers}], [{after}]"));
        // So many replays are the end of what was given out.
        if let Some(token) = token.or(later) {
            let status = until(stand, &token, 401).await;
            found.must(status == 401, || format!("I3: a token of a code that was replayed: {status}"));
        }
        all.join(answers);
        all.join(after);
    }
    found.requests += all.all();
    found.notes.push(format!("[{all}]"));
}

async fn race_of(stand: &Stand, code: &str) -> (Tally, Option<String>) {
    let doors: Vec<Door> = (0..REPLICAS).map(|replica| stand.at(replica)).collect();
    race(&doors, code, 6).await
}

/// How one code ends that is redeemed so often at once, and what a winner got.
pub async fn race(doors: &[Door], code: &str, times: usize) -> (Tally, Option<String>) {
    let answers = join_all((0..times).map(|number| doors[number % doors.len()].redeem(code))).await;
    let token = answers.iter().find_map(|(_, tokens)| tokens["access_token"].as_str().map(str::to_owned));
    (answers.iter().map(|(status, _)| *status).collect(), token)
}

/// What a call is answered at all replicas, once it is this or after three seconds.
pub async fn until(stand: &Stand, token: &str, wanted: u16) -> u16 {
    let started = Instant::now();
    loop {
        let calls = (0..REPLICAS).map(async |replica| stand.at(replica).call(token, "until").await.0);
        let statuses = join_all(calls).await;
        let other = statuses.into_iter().find(|status| *status != wanted);
        match other {
            None => return wanted,
            Some(other) if started.elapsed() > Duration::from_secs(3) => return other,
            Some(_) => sleep(ms(100)).await,
        }
    }
}

/// R7.
async fn herd(stand: &Stand, shared: &Shared, calls: usize, found: &mut Found) {
    const LIFE: i64 = 40;
    let signed = {
        // Nobody else's tokens are to live so short.
        let _alone = shared.lives.write().await;
        stand.let_tokens_live(LIFE).await;
        let signed = stand.door.sign_in_again(OF_STEPS + 1).await;
        stand.let_tokens_live(2 * 3600).await;
        signed
    };
    let obtained = Instant::now();
    let signed = match signed {
        Ok(signed) => signed,
        Err(refusal) => return found.violations.push(format!("R7: {refusal}")),
    };
    let matching = Match { grant: Some("refresh_token".into()), user: Some(upn(OF_STEPS + 1)), ..Match::default() };
    stand.entra.fault(fake_entra::Fault { matching, times: 1000, delay_ms: 300, ..Default::default() });
    let doors: Vec<Door> = (0..REPLICAS).map(|replica| stand.at(replica)).collect();
    let herd = async |calls: usize| -> Tally {
        let calls = (0..calls).map(|number| doors[number % REPLICAS].call(&signed.access, "herd"));
        join_all(calls).await.into_iter().map(|(status, _)| status).collect()
    };
    // Past the last moment from which it may be due (34 s), before its end (36 s).
    sleep(Duration::from_millis(34_300).saturating_sub(obtained.elapsed())).await;
    let answers = herd(calls).await;
    sleep(ms(1500)).await;
    let asked = 1000 - used(stand).await;
    // The successor of one refresh token, however many ask at once; who is told to come again does.
    let mut successors = std::collections::BTreeSet::new();
    let mut refreshes = Tally::default();
    for _ in 0..3 {
        let answered = join_all((0..calls).map(|number| doors[number % REPLICAS].refresh(&signed.refresh))).await;
        let tally: Tally = answered.iter().map(|(status, _)| *status).collect();
        let of = |tokens: &Value| tokens["refresh_token"].as_str().map(str::to_owned);
        successors.extend(answered.iter().filter_map(|(_, tokens)| of(tokens)));
        let done = tally.of(503) == 0;
        refreshes.join(tally);
        if done {
            break;
        }
    }
    forget_faults(stand).await;
    found.requests += answers.all() + refreshes.all();
    found
        .notes
        .push(format!("calls [{answers}], {asked} to Entra; refreshes [{refreshes}], {} successors", successors.len()));
    found.must(answers.only(&[200]), || format!("R7: calls when a token is due: [{answers}]"));
    found.must(asked == 1, || format!("R7: {asked} calls to Entra"));
    found.must(refreshes.only(&[200, 503]), || format!("R7: refreshes: [{refreshes}]"));
    found.must(successors.len() == 1, || format!("I3: {} successors of one refresh token", successors.len()));
}

/// How often the fault that is armed may still be met.
async fn used(stand: &Stand) -> u32 {
    let url = format!("{}/_emu/faults", stand.entra.control_url());
    let armed = http_client().get(&url).bearer_auth(stand.entra.control_token()).send().await.unwrap();
    let armed: Vec<fake_entra::Fault> = armed.json().await.unwrap();
    armed.first().map_or(0, |fault| fault.times)
}

async fn forget_faults(stand: &Stand) {
    let url = format!("{}/_emu/faults", stand.entra.control_url());
    let answer = http_client().delete(&url).bearer_auth(stand.entra.control_token()).send().await.unwrap();
    assert!(answer.status().is_success());
}

fn of_answer(answer: Answer) -> fake_entra::Fault {
    // Not what the machine's own service answers, whose path ends alike.
    let matching = Match { path: Some("/v2.0/token".into()), ..Match::default() };
    let fault = fake_entra::Fault { matching, times: 1_000_000, ..Default::default() };
    match answer {
        Answer::TooMany => fake_entra::Fault { status: Some(429), retry_after: Some("1".into()), ..fault },
        Answer::Unavailable => fake_entra::Fault { status: Some(503), ..fault },
        Answer::Page => fake_entra::Fault { status: Some(200), html: true, ..fault },
        Answer::Hang => fake_entra::Fault { delay_ms: 60_000, drop_connection: true, ..fault },
        Answer::Closed => fake_entra::Fault { drop_connection: true, ..fault },
        Answer::Slow => fake_entra::Fault { delay_ms: 5000, ..fault },
        Answer::Truncated => fake_entra::Fault { truncate_body: true, ..fault },
    }
}

/// R9: who signs in right after is let in, at each replica. Where the key before is withdrawn at once, what the replica proved
/// itself with was signed by it: one sign-in finds that out, and the next one brings a new proof.
async fn keys_rolled(stand: &Stand, found: &mut Found) {
    for (step, pause) in [(Rotation::Publish, 500), (Rotation::Activate, 0), (Rotation::Retire, 0)] {
        stand.entra.rotate_keys(step).unwrap();
        sleep(ms(pause)).await;
        for replica in 0..REPLICAS {
            found.requests += 1;
            let mut signed = stand.at(replica).sign_in_again(OF_STEPS).await;
            if matches!(step, Rotation::Retire) && signed.is_err() {
                found.notes.push(format!("replica {replica} brings a new proof"));
                signed = stand.at(replica).sign_in_again(OF_STEPS).await;
            }
            found.must(signed.is_ok(), || format!("R9: replica {replica} after {step:?}: {}", signed.err().unwrap()));
        }
    }
}

/// R11.
async fn rolling(stand: &mut Stand, found: &mut Found) {
    let untaken = stand.balancer.untaken();
    let mut slowest = Duration::ZERO;
    for replica in (0..REPLICAS).filter(|replica| *replica != HELD) {
        let (clean, took) = stand.edges[replica].terminate(DRAIN + EXIT).await;
        slowest = slowest.max(took);
        found.must(clean && took <= DRAIN + Duration::from_secs(2), || {
            format!("R11: replica {replica} ended after {took:?}, cleanly: {clean}")
        });
        stand.replace(replica, Launch::default()).await;
        found.must(stand.until_all_are_targets().await, || format!("R11: replica {replica} does not come back"));
    }
    let refused = stand.balancer.untaken() - untaken;
    found.notes.push(format!("{refused} refused, ends within {slowest:.1?}"));
    found.must(refused == 0, || format!("R11: {refused} connections were refused"));
}

/// R12.
async fn upgrade(stand: &mut Stand, found: &mut Found) {
    let untaken = stand.balancer.untaken();
    let next = stand.launch(HELD, Some(crate::support::free_port()), Launch::default()).await;
    let mut before = std::mem::replace(&mut stand.edges[HELD], next);
    stand.set_admin_port(HELD);
    let (clean, took) = before.terminate(DRAIN + EXIT).await;
    found.must(clean, || format!("R12: the process before ended after {took:?}, not cleanly"));
    found.must(stand.until_all_are_targets().await, || "R12: not all are targets".to_owned());
    let refused = stand.balancer.untaken() - untaken;
    found.notes.push(format!("{refused} refused, the one before ended after {took:.1?}"));
    found.must(refused == 0, || format!("R12: {refused} connections were refused"));
}

/// R13: what the others gave is taken there, and what it gives is taken by the others, but for codes.
async fn clock(stand: &mut Stand, replica: usize, seconds: i64, found: &mut Found) {
    if crate::chaos::edge_process::faketime().is_none() {
        found.notes.push("SKIPPED: libfaketime is not installed".to_owned());
        return;
    }
    stand.edges[replica].terminate(DRAIN + EXIT).await;
    stand.replace(replica, Launch { clock: Some(seconds), ..Launch::default() }).await;
    found.must(stand.until_all_are_targets().await, || format!("R13: replica {replica} is not ready"));
    for _ in 0..5 {
        found.requests += 1 + REPLICAS as u64;
        match stand.at(replica).sign_in_again(OF_STEPS + 2).await {
            Ok(signed) => {
                for other in 0..REPLICAS {
                    let (status, _) = stand.at(other).call(&signed.access, "clock").await;
                    found.must(status == 200, || format!("R13: signed in at {replica}, at {other} {status}"));
                }
            }
            Err(refusal) => found.violations.push(format!("R13: at {seconds:+} s: {refusal}")),
        }
        sleep(Duration::from_secs(1)).await;
    }
    stand.edges[replica].terminate(DRAIN + EXIT).await;
    stand.replace(replica, Launch::default()).await;
    found.must(stand.until_all_are_targets().await, || format!("R13: replica {replica} does not come back"));
}

/// R16: the admin listener answers, and there is room again when they leave.
async fn few_files(stand: &mut Stand, shared: &Shared, replica: usize, clients: usize, found: &mut Found) {
    stand.edges[replica].terminate(DRAIN + EXIT).await;
    stand.replace(replica, Launch { files: Some(300), ..Launch::default() }).await;
    found.must(stand.until_all_are_targets().await, || format!("R16: replica {replica} is not ready"));
    let mut held = Vec::new();
    for _ in 0..clients {
        // It is closed at once when there is no room.
        held.push(TcpStream::connect(("127.0.0.1", stand.edges[replica].port)).await);
    }
    sleep(Duration::from_secs(2)).await;
    let files = stand.edges[replica].files();
    for path in ["/healthz", "/metrics"] {
        let answer = http_client().get(stand.edges[replica].admin_url(path)).send().await;
        let status = answer.map_or(0, |answer| answer.status().as_u16());
        found.must(status == 200, || format!("R16: {path} answers {status}"));
    }
    drop(held);
    let (signed, started): (Signed, Instant) = (shared.known.lock().unwrap()[0].clone(), Instant::now());
    let door = stand.at(replica);
    while door.call(&signed.access, "files").await.0 != 200 {
        if started.elapsed() > Duration::from_secs(30) {
            found.violations.push("R16: no room after 30 s".to_owned());
            break;
        }
        sleep(ms(20)).await;
    }
    found.notes.push(format!("{files} files open at most seen, room again after {:.1?}", started.elapsed()));
    let ended = stand.edges[replica].has_ended();
    found.must(!ended, || "R16: the process ended".to_owned());
    stand.edges[replica].terminate(DRAIN + EXIT).await;
    stand.replace(replica, Launch::default()).await;
    found.must(stand.until_all_are_targets().await, || format!("R16: replica {replica} does not come back"));
    let ready = door.request(Method::GET, "/.well-known/oauth-authorization-server").send().await;
    found.must(ready.is_ok_and(|answer| answer.status() == 200), || "R16: it does not serve again".to_owned());
}
