//! The key ring: root keys by id, and what is derived from them.
//!
//! One key seals, all but revoked ones open. Root keys are never used directly: each purpose has its own key by
//! HKDF-SHA256(root, salt = key id, info = "sallyport/v1/" + label). `file` knows how a ring lies on disk, `life` how it
//! changes there.

mod file;
mod life;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::KeyInit;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use file::KeyRingError;
pub use life::{EditError, KeyInfo, Revoked, Rotated, Successor};

use super::{AuditKey, Index, Purpose};
use crate::clock::Timestamp;
use crate::locked::Locked;
use crate::secret::SecretKey;

/// Names a root key; written in clear at the head of everything sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(u32);

/// What a key is for at this time of its life, in the order in which it goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Opens already, so that every replica can before the first of them seals.
    Next,
    Active,
    OpenOnly,
    /// Neither seals nor opens. Only its id is kept, which no other key may ever have.
    Revoked,
}

/// The keys of this installation. Never empty.
pub struct KeyRing {
    active: RingKey,
    /// When the active key was made; `None` for one that lives as long as the process.
    active_created: Option<Timestamp>,
    next: Option<RingKey>,
    open_only: Vec<RingKey>,
    revoked: Vec<KeyId>,
}

/// One root key and everything derived from it, ready for use.
pub(super) struct RingKey {
    id: KeyId,
    keys: Locked<Keys>,
}

struct Keys {
    ciphers: [Aes256Gcm; Purpose::ALL.len()],
    record: SecretKey,
    index: SecretKey,
    nonce: SecretKey,
    companion: SecretKey,
    audit_proof: SecretKey,
    audit_name: SecretKey,
}

impl KeyId {
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

impl KeyState {
    pub const ALL: [KeyState; 4] = [KeyState::Next, KeyState::Active, KeyState::OpenOnly, KeyState::Revoked];

    /// As the file, the list and the metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            KeyState::Next => "next",
            KeyState::Active => "active",
            KeyState::OpenOnly => "open-only",
            KeyState::Revoked => "revoked",
        }
    }
}

impl KeyRing {
    /// A ring that lives as long as the process: nothing that it sealed opens afterwards.
    pub fn ephemeral() -> Self {
        let active = RingKey::derive(KeyId(1), &SecretKey::random());
        Self { active, active_created: None, next: None, open_only: Vec::new(), revoked: Vec::new() }
    }

    /// The key that seals.
    pub fn active_id(&self) -> KeyId {
        self.active.id
    }

    /// When the key that seals was made, if it comes from a file.
    pub fn active_created(&self) -> Option<Timestamp> {
        self.active_created
    }

    /// How many keys there are of a state.
    pub fn count(&self, state: KeyState) -> usize {
        match state {
            KeyState::Next => usize::from(self.next.is_some()),
            KeyState::Active => 1,
            KeyState::OpenOnly => self.open_only.len(),
            KeyState::Revoked => self.revoked.len(),
        }
    }

    /// Whether this may take the place of `before` in a running process: it is a later state of the same ring.
    ///
    /// # Errors
    /// When it is the ring of another installation, or one made anew: to take it would sign everybody out at once, which is
    /// what somebody who copied the wrong file did not mean.
    pub fn follows(&self, before: &KeyRing) -> Result<(), KeyRingError> {
        let exchanged = |key: &RingKey| self.get(key.id).is_some_and(|ours| ours.keys.record != key.keys.record);
        if let Some(key) = before.keys().find(|key| exchanged(key)) {
            return Err(KeyRingError::Foreign(key.id));
        }
        let known = |key: &RingKey| self.get(key.id).is_some() || self.revoked.contains(&key.id);
        if before.keys().any(known) { Ok(()) } else { Err(KeyRingError::Foreign(before.active.id)) }
    }

    /// The keys that have been revoked, oldest first.
    pub fn revoked(&self) -> &[KeyId] {
        &self.revoked
    }

    /// Whether the system keeps every key out of swap.
    pub fn is_locked(&self) -> bool {
        self.keys().all(|key| key.keys.is_locked())
    }

    pub(super) fn active(&self) -> &RingKey {
        &self.active
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&RingKey> {
        self.keys().find(|key| key.id == id)
    }

    pub(super) fn has_revoked(&self, id: KeyId) -> bool {
        self.revoked.contains(&id)
    }

    /// The keys that open, the one that seals first.
    pub(super) fn keys(&self) -> impl Iterator<Item = &RingKey> {
        std::iter::once(&self.active).chain(&self.next).chain(&self.open_only)
    }
}

impl RingKey {
    fn derive(id: KeyId, root: &SecretKey) -> Self {
        let ciphers = Purpose::ALL.map(|purpose| {
            let key = derive(id, root, purpose.label());
            Aes256Gcm::new(key.expose().into())
        });
        let keys = Keys {
            ciphers,
            record: derive(id, root, "record"),
            index: derive(id, root, "index"),
            nonce: derive(id, root, "nonce"),
            companion: derive(id, root, "companion"),
            audit_proof: derive(id, root, "audit-proof"),
            audit_name: derive(id, root, "audit-name"),
        };
        Self { id, keys: Locked::new(keys) }
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn cipher(&self, purpose: Purpose) -> &Aes256Gcm {
        &self.keys.ciphers[purpose as usize]
    }

    pub(super) fn record_key(&self) -> &SecretKey {
        &self.keys.record
    }

    /// What the store knows a name by. The names of records are 32 random bytes; what else is named is longer.
    pub(super) fn index(&self, name: &[u8]) -> Index {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.keys.index.expose()).expect("HMAC takes a key of any length");
        mac.update(name);
        Index(mac.finalize().into_bytes().into())
    }

    pub(super) fn nonce_key(&self) -> &SecretKey {
        &self.keys.nonce
    }

    pub(super) fn companion_key(&self) -> &SecretKey {
        &self.keys.companion
    }

    pub(super) fn audit_key(&self) -> AuditKey {
        AuditKey::new(self.id, self.keys.audit_proof.clone(), self.keys.audit_name.clone())
    }
}

fn derive(id: KeyId, root: &SecretKey, label: &str) -> SecretKey {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&id.0.to_be_bytes()), root.expose())
        .expand_multi_info(&[b"sallyport/v1/", label.as_bytes()], key.as_mut())
        .expect("HKDF gives 32 bytes");
    SecretKey::new(*key)
}

#[cfg(test)]
mod tests;
