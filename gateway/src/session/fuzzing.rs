//! Tokens, and records as a store may give them back that somebody else has written to.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::{KIND, Record};
use super::roster::Listing;
use super::token::{AccessToken, RefreshToken};
use super::{Begun, Handle};
use crate::clock::{Clock, Timestamp};
use crate::fuzzing::{Plain, RESOURCE, SEALER, reopens};
use crate::sealed::{Id, OpenError, Purpose};
use crate::secret::SecretKey;
use crate::store::{MemoryStore, OpenTable, Store, StoreError, Table};

/// A text that a stranger made up.
pub fn strange_token(text: &str) {
    assert!(AccessToken::open(&SEALER, RESOURCE, text).is_err());
    assert!(RefreshToken::open(&SEALER, [1; 32], text).is_err());
}

/// Everything that this module reads from under a seal.
pub fn behind_the_seal(plain: &[u8]) {
    reopens::<AccessToken>(Purpose::AccessToken, plain);
    reopens::<(Handle, u32, String)>(Purpose::RefreshToken, plain);
    reopens::<Begun>(Purpose::AuthorizationCode, plain);
}

struct Fixture {
    store: Arc<MemoryStore>,
    clock: Clock,
    id: Id,
    secret: SecretKey,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    Fixture { store, clock, id: SEALER.new_id(), secret: SecretKey::new([7; 32]) }
});

/// The first byte chooses a kind of record. With the next one even, the rest is what stands in the store; otherwise it is what
/// stands under our seal, and two more bytes say which bit of the sealed record is turned.
pub fn record(input: &[u8]) {
    let Some((&[kind, way], rest)) = input.split_first_chunk() else { return };
    let fixture = &*FIXTURE;
    match kind % 2 {
        0 => sealed_for_its_owner::<Record>(fixture, way, rest),
        _ => for_operators::<Listing>(fixture, way, rest),
    }
}

fn sealed_for_its_owner<T: Serialize + DeserializeOwned>(fixture: &Fixture, way: u8, rest: &[u8]) {
    let Fixture { store, clock, id, secret } = fixture;
    let index = SEALER.index(id).expect("its key is in the ring");
    let table: Table<T> = Table::new(store.clone(), SEALER.clone(), clock.clone(), KIND);
    let name = format!("sallyport:{KIND}:{}", index.to_text());
    let get = |stored: &[u8]| {
        now(store.put(&name, stored, MINUTE)).expect("memory does not fail");
        now(table.get(id, secret))
    };
    if way.is_multiple_of(2) {
        return assert!(is_refused(&get(rest)));
    }
    let Some((&bit, plain)) = rest.split_first_chunk() else { return };
    let mut sealed = SEALER.seal_record(&name, secret, &Plain(plain));
    match get(&sealed) {
        Ok(Some(value)) => {
            now(table.put(id, secret, &value, MINUTE)).expect("memory does not fail");
            let again = now(table.get(id, secret)).expect("it was written").expect("a minute has not passed");
            assert_eq!(bytes(&value), bytes(&again));
        }
        Ok(None) => {}
        Err(error) => assert!(matches!(error, StoreError::Unreadable { cause: OpenError::Malformed, .. })),
    }
    turn(&mut sealed, bit);
    assert!(is_refused(&get(&sealed)));
}

fn for_operators<T: Serialize + DeserializeOwned>(fixture: &Fixture, way: u8, rest: &[u8]) {
    let Fixture { store, clock, id, .. } = fixture;
    let index = SEALER.index(id).expect("its key is in the ring");
    let table: OpenTable<T> = OpenTable::new(store.clone(), SEALER.clone(), clock.clone(), "listing", Purpose::Listing);
    let name = format!("sallyport:listing:{}", index.to_text());
    let get = |stored: &[u8]| {
        now(store.put(&name, stored, MINUTE)).expect("memory does not fail");
        now(table.get(index))
    };
    if way.is_multiple_of(2) {
        return assert!(is_refused(&get(rest)));
    }
    let Some((&bit, plain)) = rest.split_first_chunk() else { return };
    let mut sealed = SEALER.seal(Purpose::Listing, &[name.as_bytes()], &Plain(plain)).into_bytes();
    match get(&sealed) {
        Ok(Some(value)) => {
            now(table.put(index, &value, MINUTE)).expect("memory does not fail");
            let again = now(table.get(index)).expect("it was written").expect("a minute has not passed");
            assert_eq!(bytes(&value), bytes(&again));
        }
        Ok(None) => {}
        Err(error) => assert!(matches!(error, StoreError::Unreadable { cause: OpenError::Malformed, .. })),
    }
    turn(&mut sealed, bit);
    assert!(is_refused(&get(&sealed)));
}

/// As if it had been altered: neither believed nor taken for an outage.
fn is_refused<T>(found: &Result<Option<T>, StoreError>) -> bool {
    matches!(found, Err(StoreError::Unreadable { .. }))
}

fn turn(bytes: &mut [u8], bit: [u8; 2]) {
    let bit = usize::from(u16::from_be_bytes(bit)) % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("it was sealed")
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory does not make anybody wait")
}

const MINUTE: Duration = Duration::from_secs(60);
