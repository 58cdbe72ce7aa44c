//! Sealing: AES-256-GCM with a key id, one derived key and label per purpose, and the context as associated data.
//!
//! A [`Sealer`] turns a value into text that only this installation can open, only for the same [`Purpose`] and only in
//! the same context (issuer, resource, client). What is sealed for one purpose never opens as another: both the key and
//! the label differ (T15). Whether an opened value is still valid is for the owner of its type to say: this module knows
//! nothing of time, HTTP or stores.
//!
//! Wire form: `prefix` + base64url of `version u8 | key id u32 | nonce 12 | ciphertext | tag 16`.

mod audit_key;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod in_use;
mod key_ring;
mod purpose;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use arc_swap::Guard;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use postcard::ser_flavors::Size;
use prometheus::{IntCounter, IntCounterVec, Opts};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use zeroize::Zeroizing;

pub use audit_key::AuditKey;
pub use key_ring::{EditError, KeyId, KeyInfo, KeyRing, KeyRingError, KeyState, Revoked, Rotated, Successor};
pub use purpose::Purpose;

use crate::secret::{SecretKey, Wiped, random_bytes};
use in_use::InUse;
use key_ring::RingKey;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 4 + NONCE;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Seals and opens. Cheap to clone; clones share one ring, also when it is replaced.
#[derive(Clone)]
pub struct Sealer {
    shared: Arc<Shared>,
    /// Part of every associated data, so that two installations that share a ring do not accept each other's tokens.
    issuer: Arc<str>,
}

struct Shared {
    current: InUse<Current>,
    seals: IntCounterVec,
}

struct Current {
    ring: KeyRing,
    /// Of the active key.
    seals: IntCounter,
}

/// What may be told of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingState {
    pub active: KeyId,
    /// How many open, the active one with them.
    pub opening: usize,
    pub revoked: Vec<KeyId>,
}

/// Why a sealed text did not open. Callers answer all of them alike: the difference is for metrics and logs only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("not a sealed value of this kind")]
    Malformed,
    #[error("sealed under a key that the ring does not hold")]
    UnknownKey,
    #[error("sealed by someone else, altered, or for another context")]
    Forged,
}

/// The name of a stored record: random, and tied to the key that hides it in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub struct Id {
    key: KeyId,
    random: [u8; 32],
}

/// An [`Id`] as the store sees it: a keyed hash, from which neither the id nor the owner can be told (T36).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, serde::Deserialize)]
pub struct Index(pub [u8; 32]);

impl Hash for Index {
    /// By its first bytes: it is a keyed hash itself, whose values nobody can choose.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        hasher.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl Sealer {
    pub fn new(ring: KeyRing, issuer: &str) -> Self {
        let seals = IntCounterVec::new(Opts::new("seals", "Nobody reads this one."), &["key"]);
        Self::counting(ring, issuer, seals.expect("the counter is well-formed"))
    }

    /// `seals` counts what each key has sealed, by its id: random nonces last for 2^32 (NIST SP 800-38D section 8.3).
    pub fn counting(ring: KeyRing, issuer: &str, seals: IntCounterVec) -> Self {
        let current = InUse::new(Current::new(ring, &seals));
        Self { shared: Arc::new(Shared { current, seals }), issuer: issuer.into() }
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Takes another state of the ring from now on, for all clones.
    ///
    /// # Errors
    /// When it does not follow the one in use, which then stays.
    pub fn replace(&self, ring: KeyRing) -> Result<(), KeyRingError> {
        self.shared.current.replace(|current| {
            ring.follows(&current.ring)?;
            Ok(Current::new(ring, &self.shared.seals))
        })
    }

    /// Seals `value`. `context` is not in the text, but the same context must be given to open it.
    pub fn seal<T: Serialize>(&self, purpose: Purpose, context: &[&[u8]], value: &T) -> String {
        let aad = self.associated_data(purpose.label(), context);
        self.current().seal(purpose, random_bytes(), &aad, &encode(value))
    }

    /// Like [`Sealer::seal`], but the same value in the same context is the same text, on every replica with the same ring
    /// and active key.
    ///
    /// The nonce is a keyed hash of everything that goes into the cipher, as in the SIV construction (RFC 5297): for two
    /// different inputs it repeats no likelier than a random one, and where it does repeat by design the whole text does.
    /// So nothing is ever encrypted twice under one nonce, which AES-GCM does not survive; all that an observer
    /// learns is that two equal texts seal equal values.
    pub fn seal_repeatably<T: Serialize>(&self, purpose: Purpose, context: &[&[u8]], value: &T) -> String {
        let plain = encode(value);
        let aad = self.associated_data(purpose.label(), context);
        let current = self.current();
        let key = current.ring.active().nonce_key();
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
        // The associated data begins with the purpose's label. With its length first, no two pairs give the same bytes.
        mac.update(&(aad.len() as u64).to_be_bytes());
        mac.update(&aad);
        mac.update(&plain);
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&mac.finalize().into_bytes()[..NONCE]);
        current.seal(purpose, nonce, &aad, &plain)
    }

    /// Opens what [`Sealer::seal`] made for the same purpose and context.
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, context: &[&[u8]], text: &str) -> Result<T, OpenError> {
        let body = text.strip_prefix(purpose.prefix()).ok_or(OpenError::Malformed)?;
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(body).map_err(|_| OpenError::Malformed)?;
        let current = self.current();
        let key = current.ring.get(key_id(&sealed)?).ok_or(OpenError::UnknownKey)?;
        let aad = self.associated_data(purpose.label(), context);
        decode(&decrypt(key.cipher(purpose), &aad, &sealed)?)
    }

    /// The secret that goes with a sealed text: a MAC of it, under a key of the very root key that sealed it. Nobody has to
    /// store it, and it lives exactly as long as the text opens, whatever key is active by then.
    pub fn companion(&self, purpose: Purpose, text: &str) -> Result<SecretKey, OpenError> {
        let body = text.strip_prefix(purpose.prefix()).ok_or(OpenError::Malformed)?;
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(body).map_err(|_| OpenError::Malformed)?;
        let current = self.current();
        let key = current.ring.get(key_id(&sealed)?).ok_or(OpenError::UnknownKey)?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.companion_key().expose()).expect("HMAC takes a key of any length");
        mac.update(&self.associated_data(purpose.label(), &[text.as_bytes()]));
        Ok(SecretKey::new(mac.finalize().into_bytes().into()))
    }

    /// Seals a record for the store under a key that needs both the ring and `secret` (the double envelope of sessions).
    /// `name` is the record's own key in the store: a record moved elsewhere does not open (T37).
    pub fn seal_record<T: Serialize>(&self, name: &str, secret: &SecretKey, value: &T) -> Vec<u8> {
        let current = self.current();
        let key = current.ring.active();
        let aad = self.associated_data("record", &[name.as_bytes()]);
        current.seals.inc();
        encrypt(&record_cipher(key.record_key(), name, secret), key.id(), random_bytes(), &aad, &encode(value))
    }

    /// Opens what [`Sealer::seal_record`] made under the same name and secret.
    pub fn open_record<T: DeserializeOwned>(
        &self,
        name: &str,
        secret: &SecretKey,
        sealed: &[u8],
    ) -> Result<T, OpenError> {
        let current = self.current();
        let key = current.ring.get(key_id(sealed)?).ok_or(OpenError::UnknownKey)?;
        let aad = self.associated_data("record", &[name.as_bytes()]);
        decode(&decrypt(&record_cipher(key.record_key(), name, secret), &aad, sealed)?)
    }

    /// A fresh id, hidden in the store by the active key for as long as that key is in the ring.
    pub fn new_id(&self) -> Id {
        Id { key: self.current().ring.active_id(), random: random_bytes() }
    }

    /// How the store knows `id`; `None` when its key has left the ring, which means that the record is lost.
    pub fn index(&self, id: &Id) -> Option<Index> {
        let current = self.current();
        let key = current.ring.get(id.key)?;
        Some(key.index(&id.random))
    }

    /// Whether a key has been revoked; one that the ring has never heard of has not.
    pub fn has_revoked(&self, key: KeyId) -> bool {
        self.current().ring.has_revoked(key)
    }

    /// Whether a key is in the ring, or was revoked in it.
    pub fn knows(&self, key: KeyId) -> bool {
        let current = self.current();
        current.ring.get(key).is_some() || current.ring.has_revoked(key)
    }

    /// How the store knows what `parts` name together, under each key that opens, the active one's first. Unlike that of an
    /// [`Id`], who has the ring can tell it from the parts.
    pub fn indexes_of(&self, label: &str, parts: &[&[u8]]) -> Vec<Index> {
        let message = self.associated_data(label, parts);
        self.current().ring.keys().map(|key| key.index(&message)).collect()
    }

    /// What proves lines of the audit log from now on: that of the key that seals.
    pub fn audit_key(&self) -> AuditKey {
        self.current().ring.active().audit_key()
    }

    /// Likewise of all keys that open, the active one's first.
    pub fn audit_keys(&self) -> Vec<AuditKey> {
        self.current().ring.keys().map(RingKey::audit_key).collect()
    }

    /// Which keys are in use and which never again.
    pub fn ring_state(&self) -> RingState {
        let current = self.current();
        let ring = &current.ring;
        RingState { active: ring.active_id(), opening: ring.keys().count(), revoked: ring.revoked().to_vec() }
    }

    fn current(&self) -> Guard<Arc<Current>> {
        self.shared.current.load()
    }

    /// Every part is preceded by its length, so that no two lists of parts give the same bytes.
    fn associated_data(&self, label: &str, context: &[&[u8]]) -> Vec<u8> {
        let parts = [label.as_bytes(), self.issuer.as_bytes()];
        let mut aad = Vec::with_capacity(128);
        for part in parts.iter().chain(context) {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad
    }
}

impl Current {
    fn new(ring: KeyRing, seals: &IntCounterVec) -> Self {
        let seals = seals.with_label_values(&[&ring.active_id().get().to_string()]);
        Self { ring, seals }
    }

    fn seal(&self, purpose: Purpose, nonce: [u8; NONCE], aad: &[u8], plain: &[u8]) -> String {
        self.seals.inc();
        let key = self.ring.active();
        let sealed = encrypt(key.cipher(purpose), key.id(), nonce, aad, plain);
        let mut text = String::with_capacity(purpose.prefix().len() + sealed.len() * 4 / 3 + 3);
        text.push_str(purpose.prefix());
        BASE64_URL_SAFE_NO_PAD.encode_string(sealed, &mut text);
        text
    }
}

impl Id {
    /// Without which it names nothing any more.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// URL-safe text, for the `state` of a request to Entra.
    pub fn to_text(self) -> String {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&self.key.get().to_be_bytes());
        bytes[4..].copy_from_slice(&self.random);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let bytes: [u8; 36] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (key, random) = bytes.split_at(4);
        Some(Self { key: KeyId::new(u32::from_be_bytes(key.try_into().ok()?)), random: random.try_into().ok()? })
    }
}

impl Index {
    pub fn to_text(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// As operators see it, lower-case hexadecimal; the start of it is what logs call a session.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn key_id(sealed: &[u8]) -> Result<KeyId, OpenError> {
    if sealed.len() < HEADER + TAG || sealed[0] != VERSION {
        return Err(OpenError::Malformed);
    }
    Ok(KeyId::new(u32::from_be_bytes([sealed[1], sealed[2], sealed[3], sealed[4]])))
}

/// The header (version and key id) is authenticated too: it precedes the associated data.
fn encrypt(cipher: &Aes256Gcm, key: KeyId, nonce: [u8; NONCE], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER + plain.len() + TAG);
    sealed.push(VERSION);
    sealed.extend_from_slice(&key.get().to_be_bytes());
    let aad = [&sealed, aad].concat();
    sealed.extend_from_slice(&nonce);
    let body = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: &aad })
        .expect("AES-GCM takes a message of this size");
    sealed.extend_from_slice(&body);
    sealed
}

fn decrypt(cipher: &Aes256Gcm, aad: &[u8], sealed: &[u8]) -> Result<Wiped, OpenError> {
    let (header, body) = sealed.split_at(HEADER);
    let (prefix, nonce) = header.split_at(HEADER - NONCE);
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| OpenError::Malformed)?;
    let aad = [prefix, aad].concat();
    let plain = cipher.decrypt(&Nonce::from(nonce), Payload { msg: body, aad: &aad }).map_err(|_| OpenError::Forged)?;
    Ok(Wiped::new(plain))
}

fn record_cipher(root: &SecretKey, name: &str, secret: &SecretKey) -> Aes256Gcm {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(root.expose()), secret.expose())
        .expand(name.as_bytes(), key.as_mut())
        .expect("HKDF gives 32 bytes");
    Aes256Gcm::new((&*key).into())
}

fn encode<T: Serialize>(value: &T) -> Wiped {
    const SERIALISES: &str = "a sealed type serialises";
    // Measured first: a buffer that grows leaves what it held where it was, and nobody wipes that.
    let length = postcard::serialize_with_flavor::<T, Size, usize>(value, Size::default()).expect(SERIALISES);
    Wiped::new(postcard::to_extend(value, Vec::with_capacity(length)).expect(SERIALISES))
}

fn decode<T: DeserializeOwned>(plain: &[u8]) -> Result<T, OpenError> {
    match postcard::take_from_bytes(plain) {
        Ok((value, [])) => Ok(value),
        _ => Err(OpenError::Malformed),
    }
}

#[cfg(test)]
mod tests;
