//! R15: clients that hold connections by being slow, as `slowhttptest` is: a header line now and then (H), a byte of a body
//! now and then (B), an answer that is hardly read (R), a header of very many ranges (X). And those who are not, meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::process::{Program, Replica};
use super::rig::{Rig, Signed, Wanted};
use super::server_process::ServerProcess;
use super::{Tally, percentile, sized};
use crate::support::browser::http_client;

const SESSIONS: usize = 20;
/// Of one address, so that `connections_per_address` lets all of them in.
const OF_ADDRESS: usize = 190;
/// Whoever sends slowly is gone by then.
const CLOSED: Duration = Duration::from_secs(15);
/// Whoever does not read has half a minute for a write.
const READERS_CLOSED: Duration = Duration::from_secs(40);
const AT_MOST_KIB: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Attack {
    Header,
    BodyOfAForm,
    BodyOfAMessage,
    Ranges,
    Reader,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_closed_in_time_and_others_do_not_notice_them() {
    let (slow, readers) = (sized(300, 2_000), sized(40, 200));
    let Some(rig) = Rig::start(Wanted { users: SESSIONS, ..Wanted::default() }).await else { return };
    let server = ServerProcess::start().await;
    let replica =
        Replica::start_with(&rig, Program { ports: None, server: &server.url(), configuration: "", shell: "" }).await;
    let sessions = rig.sign_in_all(SESSIONS).await;
    let host = rig.front.public_url().strip_prefix("http://").unwrap().to_owned();
    for signed in &sessions {
        assert_eq!(call(&http_client(), &replica, &host, signed).await.0, 200);
    }

    let before = replica.resident_kib();
    let mut attackers = JoinSet::new();
    let senders = [Attack::Header, Attack::BodyOfAForm, Attack::BodyOfAMessage, Attack::Ranges];
    let attacks = (0..slow).map(|number| senders[number % 4]).chain((0..readers).map(|_| Attack::Reader));
    for (number, attack) in attacks.enumerate() {
        let address = [127, 0, 1, u8::try_from(1 + number / OF_ADDRESS).unwrap()];
        let (port, head) = (replica.port, request(attack, &host, &sessions[number % SESSIONS]));
        attackers.spawn(async move { (attack, attacked(attack, address, port, head).await) });
    }
    let (mut times, mut answers, mut peak) = (Vec::new(), Tally::default(), before);
    let (mut closed, mut beat, kept) = (BTreeMap::new(), interval(Duration::from_millis(50)), http_client());
    let mut number = 0;
    let begun = Instant::now();
    while !attackers.is_empty() {
        beat.tick().await;
        if number % 20 == 19 && closed.len() == 4 && replica.metric("sallyport_streams_open").await == 0 {
            // They have yet to read what the kernel holds for them.
            closed.insert(Attack::Reader, (attackers.len(), begun.elapsed()));
            attackers.abort_all();
            break;
        }
        // Every second one opens a connection of its own.
        let http = if number % 2 == 0 { kept.clone() } else { http_client() };
        let (status, took) = call(&http, &replica, &host, &sessions[number % SESSIONS]).await;
        answers.add(status);
        times.push(took);
        peak = peak.max(replica.resident_kib());
        number += 1;
        while let Some(done) = attackers.try_join_next() {
            let (attack, took) = done.unwrap();
            let longest: &mut (usize, Duration) = closed.entry(attack).or_default();
            *longest = (longest.0 + 1, longest.1.max(took));
        }
    }
    sleep(Duration::from_secs(1)).await;
    println!(
        "MEASURED R15: {slow} slow senders and {readers} slow readers; closed, and the last of them after: {closed:?}; \
         others meanwhile {answers}, p50 {:?}, p99 {:?}; {before} KiB before, {peak} KiB at most, {} KiB after",
        percentile(&mut times, 50),
        percentile(&mut times, 99),
        replica.resident_kib(),
    );
    for (attack, (_, took)) in closed {
        let limit = if attack == Attack::Reader { READERS_CLOSED } else { CLOSED };
        assert!(took <= limit, "{attack:?}: {took:?}");
    }
    assert!(answers.only(&[200]), "{answers}");
    let all = (slow + readers) as u64;
    assert!(peak - before <= all * AT_MOST_KIB, "{} KiB more than before", peak - before);
}

fn request(attack: Attack, host: &str, signed: &Signed) -> String {
    let Signed { access, .. } = signed;
    match attack {
        Attack::Header => format!("GET /mcp HTTP/1.1\r\nhost: {host}\r\n"),
        Attack::BodyOfAForm => {
            let form = "content-type: application/x-www-form-urlencoded";
            format!("POST /token HTTP/1.1\r\nhost: {host}\r\n{form}\r\ncontent-length: 4096\r\n\r\n")
        }
        Attack::BodyOfAMessage => format!(
            "POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {access}\r\ncontent-length: 4096\r\n\r\n"
        ),
        Attack::Ranges => {
            let ranges: Vec<_> = (0..2_000).map(|end| format!("5-{end}")).collect();
            format!(
                "GET /mcp HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nrange: bytes=0-,{}\r\n\r\n",
                ranges.join(",")
            )
        }
        Attack::Reader => format!(
            "GET /mcp?do=flood HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {access}\r\n\
             accept: text/event-stream\r\n\r\n"
        ),
    }
}

/// For how long one attacker could hold its connection.
async fn attacked(attack: Attack, address: [u8; 4], port: u16, head: String) -> Duration {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    if attack == Attack::Reader {
        socket.set_recv_buffer_size(1024).unwrap();
    }
    let mut stream: TcpStream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    let begun = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let more: &[u8] = match attack {
        Attack::Header => b"x-a: b\r\n",
        Attack::BodyOfAForm | Attack::BodyOfAMessage => b"a",
        Attack::Ranges | Attack::Reader => b"",
    };
    let mut read = [0; 16];
    while begun.elapsed() < READERS_CLOSED + CLOSED {
        if stream.write_all(more).await.is_err() {
            return begun.elapsed();
        }
        match attack {
            // Slowly on, to the end or a reset.
            Attack::Reader => {
                sleep(Duration::from_secs(1)).await;
                if stream.read(&mut read).await.map_or(true, |length| length == 0) {
                    return begun.elapsed();
                }
            }
            // It reads whatever comes.
            _ => {
                let mut answer = [0; 4096];
                let read = timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
                if let Ok(Ok(0) | Err(_)) = read {
                    return begun.elapsed();
                }
            }
        }
    }
    begun.elapsed()
}

pub async fn call(http: &reqwest::Client, replica: &Replica, host: &str, signed: &Signed) -> (u16, Duration) {
    let begun = Instant::now();
    let url = format!("http://127.0.0.1:{}/mcp", replica.port);
    let call = http.post(url).header("host", host).bearer_auth(&signed.access).body("{}");
    let status = call.send().await.map_or(0, |answer| answer.status().as_u16());
    (status, begun.elapsed())
}
