//! A dump of Redis and the key ring together (T36): who has both reads who is signed in, and no token of Entra's; nor can
//! he make a token that admits him.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use redis::cmd;
use sallyport::clock::{Clock, Timestamp};
use sallyport::sealed::{Id, KeyRing, OpenError, Purpose, Sealer};
use sallyport::secret::SecretKey;
use sallyport::session::Listing;
use serde_json::Value;

use super::vault::Vault;
use super::{call, count_panics, is_alive, sign_in};
use crate::support::browser::Browser;
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client, query, sign_in_at_entra};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

/// What an access token is made of, as its owner's client has it sealed.
type Token = (Id, SecretKey, Timestamp, [u8; 32]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_dump_and_the_ring_no_token_of_entras_is_found_and_none_of_ours_is_made() {
    count_panics();
    let Some(redis) = RedisServer::start() else { return };
    let vault = Vault::open(&redis.url());
    let upstream = Upstream::start().await;
    let file = std::env::temp_dir().join(format!("sallyport-dump-{}-{}.json", std::process::id(), free_port()));
    let clock = Clock::manual(Clock::system().now());
    KeyRing::create(&file, clock.now()).unwrap();
    let [gateway, _other] = Gateway::replicas_with_ring(&upstream.url, &redis.url(), &clock, &file).await;
    let ring = std::fs::read(&file).unwrap();
    let sealer = Sealer::new(KeyRing::load(&file).unwrap(), &gateway.public_url());
    std::fs::remove_file(&file).unwrap();

    // Of every kind one at least: used and renewed, pending, granted, spent, and a lock.
    let client = Client::register(&gateway).await;
    let adele = sign_in(&gateway, &client, &vault, ADELE).await;
    assert_eq!(client.refresh(&gateway, &adele.refresh).await.0, 200);
    assert_eq!(call(&gateway, ADELE, &adele.access).await, 200);
    let pending = client.consent(&gateway, &Browser::new(), "allow").await;
    sign_in_at_entra(&Browser::new(), &pending.next(), ALEX).await;
    let back = client.authorize(&gateway, &Browser::new(), ALEX).await;
    let code = query(&back, "code").unwrap();
    vault.write(&adele.record("lock"), b"P0123456789abcdef");

    let dump: Vec<(String, Vec<Vec<u8>>)> = everything(&vault);
    for kind in ["authorization", "code", "session", "listing", "sessions", "user", "generation", "lock"] {
        assert!(dump.iter().any(|(name, _)| name.starts_with(&format!("sallyport:{kind}:"))), "{kind} is there");
    }
    let secrets = every_secret(&dump, &ring);
    let canaries = gateway.entra.canaries();
    assert!(canaries.len() >= 6, "{}", canaries.len());
    let mut listings = 0;
    for (name, values) in &dump {
        for sealed in values.iter().flat_map(|value| every_tail(value)) {
            for secret in &secrets {
                match sealer.open_record::<()>(name, secret, sealed) {
                    Err(OpenError::Forged | OpenError::UnknownKey) => {}
                    // Not even the beginning of something sealed. Else it was decrypted, and is of another type.
                    Err(OpenError::Malformed) if !looks_sealed(sealed) => {}
                    opened => panic!("{name} opens: {opened:?}"),
                }
            }
            let Some(listing) = open_without_a_secret(&sealer, &client, name, sealed) else { continue };
            listings += 1;
            let text = serde_json::to_string(&listing).unwrap();
            for canary in canaries.iter().chain([&adele.access, &adele.refresh, &code]) {
                assert!(!text.contains(canary.as_str()), "a listing holds {}…", &canary[..12]);
            }
        }
    }
    assert_eq!(listings, 2, "what may be read was found, so what may not would have been");

    // The other half is with the client: with it, the same way finds the record.
    let resource = client.resource.as_bytes();
    let (id, secret, expires, digest): Token = sealer.open(Purpose::AccessToken, &[resource], &adele.access).unwrap();
    let record = adele.record("session");
    assert_ne!(sealer.open_record::<()>(&record, &secret, &vault.read(&record)[1..]), Err(OpenError::Forged));

    // Tokens that the ring seals: with another secret, or for an id that is only known by its name in the store.
    let make = |id: Id, secret: &SecretKey| {
        sealer.seal(Purpose::AccessToken, &[resource], &(id, secret.clone(), expires, digest))
    };
    assert_eq!(call(&gateway, ADELE, &make(id, &secret)).await, 200, "it is made as the gateway makes it");
    let index: [u8; 32] = BASE64_URL_SAFE_NO_PAD.decode(&adele.index).unwrap().try_into().unwrap();
    let id_of = |random: &[u8; 32]| {
        let bytes = [&id.key().get().to_be_bytes()[..], random].concat();
        Id::from_text(&BASE64_URL_SAFE_NO_PAD.encode(bytes)).unwrap()
    };
    assert_eq!(call(&gateway, ADELE, &make(id_of(&index), &secret)).await, 401);
    for secret in secrets.iter().take(50) {
        for id in [id, id_of(&index)] {
            assert_eq!(call(&gateway, ADELE, &make(id, secret)).await, 401);
        }
    }
    is_alive(&gateway).await;
}

/// Name and values of each key, whatever its type.
fn everything(vault: &Vault) -> Vec<(String, Vec<Vec<u8>>)> {
    let names: Vec<String> = vault.ask(cmd("KEYS").arg("*"));
    let read = |name: &String| match vault.ask::<String>(cmd("TYPE").arg(name)).as_str() {
        "string" => vec![vault.read(name)],
        "zset" => vault.ask(cmd("ZRANGE").arg(name).arg(0).arg(-1)),
        other => panic!("{name} is a {other}, which nothing here reads"),
    };
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// What could be a secret without being its owner's: all 32 bytes in a row that lie in the store or the ring.
fn every_secret(dump: &[(String, Vec<Vec<u8>>)], ring: &[u8]) -> Vec<SecretKey> {
    let mut places = vec![vec![0; 32], vec![0xff; 32]];
    let ring: Value = serde_json::from_slice(ring).unwrap();
    for key in ring["keys"].as_array().unwrap() {
        places.push(BASE64_URL_SAFE_NO_PAD.decode(key["key"].as_str().unwrap()).unwrap());
    }
    for (name, values) in dump {
        places.extend(BASE64_URL_SAFE_NO_PAD.decode(name.rsplit(':').next().unwrap()));
        // Of what is sealed, the part in front: guards, epitaphs, claimants and members are there.
        places.extend(values.iter().map(|value| value[..value.len().min(97)].to_vec()));
    }
    let rows = places.iter().flat_map(|place| place.array_windows::<32>());
    rows.map(|bytes| SecretKey::new(*bytes)).collect()
}

/// What may be the sealed part of a value, behind each frame that there is.
fn every_tail(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    [0, 1, 33, 65, 93].into_iter().filter_map(|start| value.get(start..))
}

/// With the ring alone, for every purpose and in every context that the gateway uses.
fn open_without_a_secret(sealer: &Sealer, client: &Client, name: &str, sealed: &[u8]) -> Option<Listing> {
    use sha2::{Digest, Sha256};
    let digest: [u8; 32] = Sha256::digest(&client.id).into();
    let contexts: [&[&[u8]]; 4] = [&[], &[name.as_bytes()], &[client.resource.as_bytes()], &[&digest]];
    let text = std::str::from_utf8(sealed).ok();
    // Records are bytes; what opens without a secret is text.
    let texts = text.map(str::to_owned).into_iter().chain([BASE64_URL_SAFE_NO_PAD.encode(sealed)]);
    let mut listing = None;
    for text in texts {
        for purpose in Purpose::ALL {
            let text = format!("{}{text}", purpose.prefix());
            for context in contexts {
                match sealer.open::<(Timestamp, Listing)>(purpose, context, &text) {
                    Ok((_, opened)) => {
                        assert!(name.starts_with("sallyport:listing:") && purpose == Purpose::Listing, "{name} opens");
                        listing = Some(opened);
                    }
                    Err(OpenError::Forged | OpenError::UnknownKey) => {}
                    Err(OpenError::Malformed) => {
                        let body = BASE64_URL_SAFE_NO_PAD.decode(&text[purpose.prefix().len()..]);
                        assert!(!body.is_ok_and(|body| looks_sealed(&body)), "{name} opens");
                    }
                }
            }
        }
    }
    listing
}

/// Version, key id, nonce and tag.
fn looks_sealed(bytes: &[u8]) -> bool {
    bytes.len() >= 33 && bytes[0] == 1
}
