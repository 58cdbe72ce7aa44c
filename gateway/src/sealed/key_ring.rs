//! The key ring: root keys by id, and what is derived from them.
//!
//! The first key seals, every key opens. Root keys are never used directly: each purpose has its own key by
//! HKDF-SHA256(root, salt = key id, info = "sallyport/v1/" + label).

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::KeyInit;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::Purpose;
use crate::clock::Timestamp;
use crate::secret::SecretKey;

/// Names a root key; written in clear at the head of everything sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(u32);

/// The keys of this installation. Never empty.
pub struct KeyRing {
    active: RingKey,
    open_only: Vec<RingKey>,
}

/// Why a key ring file cannot be used. Shows the file's faults, never a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    #[error("cannot read it: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it is not a key ring: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it is version {0}; this program reads version 1")]
    Version(u32),
    #[error("key {} is not 32 bytes of base64url", .0.get())]
    BadKey(KeyId),
    #[error("key {} is there twice", .0.get())]
    Duplicate(KeyId),
    #[error("exactly one key must be active, and there are {0}")]
    Active(usize),
}

/// One root key and everything derived from it, ready for use.
pub(super) struct RingKey {
    id: KeyId,
    ciphers: Vec<Aes256Gcm>,
    record: SecretKey,
    index: SecretKey,
    nonce: SecretKey,
    companion: SecretKey,
}

impl KeyId {
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

impl KeyRing {
    /// A ring that lives as long as the process: nothing that it sealed opens afterwards.
    pub fn ephemeral() -> Self {
        Self { active: RingKey::derive(KeyId(1), &SecretKey::random()), open_only: Vec::new() }
    }

    pub fn load(path: &Path) -> Result<Self, KeyRingError> {
        let text = Zeroizing::new(fs::read_to_string(path)?);
        Self::parse(&text)
    }

    /// Writes a new ring with one fresh active key, readable by its owner only.
    ///
    /// # Errors
    /// When the file exists: a ring is never overwritten, for every token and record under it would be lost.
    pub fn create(path: &Path, now: Timestamp) -> Result<KeyId, KeyRingError> {
        let id = KeyId(1);
        let root = SecretKey::random();
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let key = FileKey {
            id,
            created: now.unix(),
            state: State::Active,
            key: BASE64_URL_SAFE_NO_PAD.encode(root.expose()),
        };
        let text = Zeroizing::new(serde_json::to_string_pretty(&FileRing { version: 1, keys: vec![key] })?);
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        Ok(id)
    }

    pub(super) fn active(&self) -> &RingKey {
        &self.active
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&RingKey> {
        std::iter::once(&self.active).chain(&self.open_only).find(|key| key.id == id)
    }

    fn parse(text: &str) -> Result<Self, KeyRingError> {
        let file: FileRing = serde_json::from_str(text)?;
        if file.version != 1 {
            return Err(KeyRingError::Version(file.version));
        }
        let mut active = Vec::new();
        let mut open_only: Vec<RingKey> = Vec::new();
        for key in &file.keys {
            if active.iter().chain(&open_only).any(|seen: &RingKey| seen.id == key.id) {
                return Err(KeyRingError::Duplicate(key.id));
            }
            match key.state {
                State::Active => active.push(key.derive()?),
                State::OpenOnly => open_only.push(key.derive()?),
                State::Revoked => {}
            }
        }
        match active.len() {
            1 => Ok(Self { active: active.remove(0), open_only }),
            count => Err(KeyRingError::Active(count)),
        }
    }
}

impl RingKey {
    fn derive(id: KeyId, root: &SecretKey) -> Self {
        let ciphers = Purpose::ALL.iter().map(|purpose| {
            let key = derive(id, root, purpose.label());
            Aes256Gcm::new(key.expose().into())
        });
        Self {
            id,
            ciphers: ciphers.collect(),
            record: derive(id, root, "record"),
            index: derive(id, root, "index"),
            nonce: derive(id, root, "nonce"),
            companion: derive(id, root, "companion"),
        }
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn cipher(&self, purpose: Purpose) -> &Aes256Gcm {
        &self.ciphers[purpose as usize]
    }

    pub(super) fn record_key(&self) -> &SecretKey {
        &self.record
    }

    pub(super) fn index_key(&self) -> &SecretKey {
        &self.index
    }

    pub(super) fn nonce_key(&self) -> &SecretKey {
        &self.nonce
    }

    pub(super) fn companion_key(&self) -> &SecretKey {
        &self.companion
    }
}

fn derive(id: KeyId, root: &SecretKey, label: &str) -> SecretKey {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&id.0.to_be_bytes()), root.expose())
        .expand_multi_info(&[b"sallyport/v1/", label.as_bytes()], key.as_mut())
        .expect("HKDF gives 32 bytes");
    SecretKey::new(*key)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRing {
    version: u32,
    keys: Vec<FileKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    id: KeyId,
    /// Seconds since the Unix epoch.
    created: u64,
    state: State,
    /// 32 bytes, base64url.
    key: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Active,
    OpenOnly,
    Revoked,
}

impl FileKey {
    fn derive(&self) -> Result<RingKey, KeyRingError> {
        let bytes =
            Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(&self.key).map_err(|_| KeyRingError::BadKey(self.id))?);
        let bytes = bytes.as_slice().try_into().map_err(|_| KeyRingError::BadKey(self.id))?;
        Ok(RingKey::derive(self.id, &SecretKey::new(bytes)))
    }
}

impl Drop for FileKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32, state: &str) -> String {
        let key = BASE64_URL_SAFE_NO_PAD.encode([id as u8; 32]);
        format!(r#"{{"id":{id},"created":0,"state":"{state}","key":"{key}"}}"#)
    }

    fn ring(keys: &[String]) -> Result<KeyRing, KeyRingError> {
        KeyRing::parse(&format!(r#"{{"version":1,"keys":[{}]}}"#, keys.join(",")))
    }

    #[test]
    fn a_created_ring_loads_and_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("ring-{}.json", std::process::id()));
        KeyRing::create(&path, Timestamp::from_unix(0)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        let loaded = KeyRing::load(&path);
        let again = KeyRing::create(&path, Timestamp::from_unix(0));
        fs::remove_file(&path).unwrap();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(loaded.unwrap().active().id(), KeyId(1));
        assert!(matches!(again, Err(KeyRingError::Unreadable(_))), "a ring is never overwritten");
    }

    #[test]
    fn a_revoked_key_is_not_in_the_ring() {
        let ring = ring(&[key(1, "revoked"), key(2, "active"), key(3, "open-only")]).unwrap();
        assert!(ring.get(KeyId(1)).is_none());
        assert!(ring.get(KeyId(3)).is_some());
    }

    /// A client registered before a rotation keeps its id and its secret, until its key is revoked.
    #[test]
    fn what_goes_with_a_sealed_text_survives_a_rotation() {
        use crate::sealed::{OpenError, Sealer};
        let sealer = |keys: &[String]| Sealer::new(ring(keys).unwrap(), "https://mcp.example.com");
        let before = sealer(&[key(1, "active")]);
        let text = before.seal(Purpose::Client, &[], &7u8);
        let secret = before.companion(Purpose::Client, &text).unwrap();
        let after = sealer(&[key(1, "open-only"), key(2, "active")]);
        assert_eq!(after.open::<u8>(Purpose::Client, &[], &text), Ok(7));
        assert!(after.companion(Purpose::Client, &text).unwrap() == secret);
        let revoked = sealer(&[key(1, "revoked"), key(2, "active")]);
        assert_eq!(revoked.companion(Purpose::Client, &text).err(), Some(OpenError::UnknownKey));
        assert!(before.companion(Purpose::Client, &before.seal(Purpose::Client, &[], &7u8)).unwrap() != secret);
    }

    #[test]
    fn a_ring_with_no_or_two_active_keys_is_refused() {
        assert!(matches!(ring(&[]), Err(KeyRingError::Active(0))));
        assert!(matches!(ring(&[key(1, "open-only")]), Err(KeyRingError::Active(0))));
        assert!(matches!(ring(&[key(1, "active"), key(2, "active")]), Err(KeyRingError::Active(2))));
    }

    #[test]
    fn duplicates_short_keys_and_other_versions_are_refused() {
        assert!(matches!(ring(&[key(1, "active"), key(1, "open-only")]), Err(KeyRingError::Duplicate(_))));
        let short = r#"{"id":1,"created":0,"state":"active","key":"AAAA"}"#.to_owned();
        assert!(matches!(ring(&[short]), Err(KeyRingError::BadKey(_))));
        assert!(matches!(KeyRing::parse(r#"{"version":2,"keys":[]}"#), Err(KeyRingError::Version(2))));
    }
}
