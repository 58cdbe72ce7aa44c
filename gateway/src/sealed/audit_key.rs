//! What proves the lines of the audit log, and what hides the people in them. Kept beside the sealing keys, for it lives and
//! dies with them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::KeyId;
use crate::secret::SecretKey;

/// Two keys of one root key.
#[derive(Clone)]
pub struct AuditKey {
    id: KeyId,
    proof: SecretKey,
    name: SecretKey,
}

impl AuditKey {
    pub(super) fn new(id: KeyId, proof: SecretKey, name: SecretKey) -> Self {
        Self { id, proof, name }
    }

    /// Of the root key, as lines name it.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What only the holder of the ring can put behind a line. A bare hash could be made anew by whoever rewrites the file.
    pub fn prove(&self, line: &[u8]) -> [u8; 32] {
        mac(&self.proof, line)
    }

    pub fn proves(&self, line: &[u8], proof: &[u8]) -> bool {
        self.prove(line).ct_eq(proof).into()
    }

    /// By what lines call somebody: the same each time, and to be told from nothing but the ring.
    pub fn pseudonym(&self, identity: &[u8; 32]) -> String {
        base16ct::lower::encode_string(&mac(&self.name, identity)[..16])
    }
}

fn mac(key: &SecretKey, message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}
