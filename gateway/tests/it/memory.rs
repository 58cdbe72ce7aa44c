//! What of a session is left in the memory of the edge's process when it is over: copies are counted, by the bytes that only
//! the secret has (docs/memory.md says which remain, and why).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fake_entra::FakeEntra;
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;
use tokio::time::sleep;

use crate::chaos::{Door, EdgeProcess, Launch, client};
use crate::program::Folder;
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::upstream::Upstream;

/// So much of a secret is enough to know it by.
const ENOUGH: usize = 32;
/// No more copies than these a second after the end: more than were ever measured by one or two, for which connection a call takes is
/// chance. They are
/// in buffers that were freed, of the libraries that carry requests, which do not wipe what they free.
const AT_MOST: [(&str, usize); 4] =
    [("Entra's access token", 8), ("Entra's refresh token", 3), ("our access token", 4), ("our refresh token", 6)];

struct Secret {
    name: &'static str,
    part: Vec<u8>,
}

impl Secret {
    /// From its middle where all of it is random; the signature where it is signed, without which it is worth nothing.
    fn new(name: &'static str, text: &str) -> Self {
        let from = text.rfind('.').filter(|_| text.starts_with("eyJ")).map_or(text.len() / 2, |dot| dot + 1);
        Self { name, part: text.as_bytes()[from..from + ENOUGH].to_vec() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_after_its_end_few_copies_of_a_sessions_secrets_are_left() {
    let stand = Stand::start().await;
    let gateway = Gateway::elsewhere(stand.entra.clone(), stand.edge.port, stand.edge.admin_port);
    let client_of_mcp = Client::register(&gateway).await;
    let tokens = client_of_mcp.tokens(&gateway, ADELE).await;
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let door = Door {
        http: client(true),
        public: gateway.public_url(),
        port: stand.edge.port,
        client_id: client_of_mcp.id.clone(),
        given: Arc::default(),
    };
    for number in 0..5 {
        assert_eq!(door.call(access, &number.to_string()).await.0, 200);
    }
    let (status, renewed) = door.refresh(refresh).await;
    assert_eq!(status, 200, "{renewed}");
    let (access, refresh) = (renewed["access_token"].as_str().unwrap(), renewed["refresh_token"].as_str().unwrap());
    assert_eq!(door.call(access, "renewed").await.0, 200);
    let shown = stand.upstream.seen().last().unwrap().headers["authorization"].to_str().unwrap().to_owned();
    let canaries = stand.entra.canaries();
    // Codes are longer.
    let theirs = canaries.iter().rfind(|it| it.starts_with("1.AX") && it.len() < 1100).expect("a refresh token");
    let secrets = [
        Secret::new("Entra's access token", shown.strip_prefix("Bearer ").unwrap()),
        Secret::new("Entra's refresh token", theirs),
        Secret::new("our access token", access),
        Secret::new("our refresh token", refresh),
    ];
    let Some(before) = copies(stand.edge.id(), &secrets) else {
        return println!("SKIPPED: another process's memory may not be read here; as root it may");
    };
    assert!(before[0] > 0, "what is in use is found: {before:?}");

    assert_eq!(door.revoke(refresh).await, 200);
    sleep(Duration::from_secs(1)).await;
    let after = copies(stand.edge.id(), &secrets).unwrap();
    // Others go on, and buffers that were freed are used again.
    let other = client_of_mcp.tokens(&gateway, ALEX).await;
    for number in 0..200 {
        assert_eq!(door.call(other["access_token"].as_str().unwrap(), &number.to_string()).await.0, 200);
    }
    let later = copies(stand.edge.id(), &secrets).unwrap();
    for (number, secret) in secrets.iter().enumerate() {
        println!(
            "MEASURED memory {}: {} copies before its end, {} a second after, {} after 200 calls of another",
            secret.name, before[number], after[number], later[number]
        );
    }
    for (number, (name, at_most)) in AT_MOST.into_iter().enumerate() {
        assert_eq!(secrets[number].name, name);
        assert!(after[number] <= at_most, "{} copies of {name}, a second after its end", after[number]);
    }
}

/// An edge in a process of its own, its store in memory, and what is around it in this one.
struct Stand {
    edge: EdgeProcess,
    entra: Arc<FakeEntra>,
    upstream: Upstream,
    _folder: Folder,
}

impl Stand {
    async fn start() -> Self {
        crate::support::install_crypto_provider();
        let upstream = Upstream::start().await;
        let entra = Arc::new(FakeEntra::start(fake_entra::Options::default()).await.unwrap());
        let folder = Folder::new("memory");
        KeyRing::create(&PathBuf::from(folder.path("keys.json")), Clock::system().now()).unwrap();
        let ports = [free_port(), free_port()];
        let text = format!(
            r#"
            public_url = "http://localhost:{port}"
            [listen]
            address = "127.0.0.1:{port}"
            [admin]
            address = "127.0.0.1:{admin}"
            [entra]
            authority = "{authority}"
            tenant_id = "{tenant}"
            client_id = "{client}"
            scope = "{scope}"
            [entra.credential]
            kind = "managed-identity"
            client_id = "{identity}"
            endpoint = "{authority}"
            [store]
            url = "memory:"
            [keys]
            file = "keys.json"
            [[upstream]]
            name = "mcp"
            path = "/mcp"
            servers = ["{server}"]
            "#,
            port = ports[0],
            admin = ports[1],
            authority = entra.authority(),
            tenant = entra.tenant_id(),
            client = entra.gateway_client_id(),
            scope = entra.scope(),
            identity = entra.gateway_identity(),
            server = upstream.url,
        );
        let file = PathBuf::from(folder.file("sallyport.toml", &text));
        let edge = EdgeProcess::start(&file, ports, &PathBuf::from(folder.path("log")), Launch::default()).await;
        Self { edge, entra, upstream, _folder: folder }
    }
}

/// How many copies of each there are in what the process can write to; nothing where that may not be read.
fn copies(process: u32, secrets: &[Secret]) -> Option<Vec<usize>> {
    let memory = File::open(format!("/proc/{process}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let mut counts = vec![0; secrets.len()];
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        for (count, secret) in counts.iter_mut().zip(secrets) {
            *count += in_range(&memory, from, to, &secret.part);
        }
    }
    Some(counts)
}

/// In pieces, so that what is only reserved costs no memory here; what lies across two is found too.
fn in_range(memory: &File, from: u64, to: u64, part: &[u8]) -> usize {
    const PIECE: u64 = 1 << 20;
    let (mut found, mut at) = (0, from);
    while at < to {
        let end = to.min(at + PIECE + part.len() as u64 - 1);
        let mut bytes = vec![0; (end - at) as usize];
        // What is not there, or not to be read, holds nothing.
        let read = memory.read_at(&mut bytes, at).unwrap_or(0);
        found += memchr::memmem::find_iter(&bytes[..read], part).count();
        at += PIECE;
    }
    found
}
