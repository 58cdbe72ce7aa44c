//! TLS to the servers of one group: whom they must be certified by, and what the edge shows them.

use std::sync::Arc;

use pingora::prelude::HttpPeer;
use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use sha2::{Digest, Sha256};

use crate::pem::{self, PemError};

/// Empty: the roots of the system, and no certificate of ours.
#[derive(Clone, Default)]
pub struct Tls {
    roots: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
    /// SHA-256 of the files: of the roots, and of certificate and key.
    made_of: [Option<[u8; 32]>; 2],
}

/// The same files give the same TLS.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.made_of == other.made_of
    }
}

impl Tls {
    /// Only servers that these roots have certified; in PEM.
    pub fn with_roots(self, pem: &[u8]) -> Result<Self, PemError> {
        let roots = pem::roots(pem)?.into_iter().map(|root| WrappedX509::new(root.to_vec(), parse_x509));
        let made_of = [Some(Sha256::digest(pem).into()), self.made_of[1]];
        Ok(Self { roots: Some(roots.collect()), made_of, ..self })
    }

    /// The edge's own certificate for this hop with its chain, and the key; in PEM.
    pub fn with_certificate(self, certificate: &[u8], key_pem: &[u8]) -> Result<Self, PemError> {
        let (chain, key) = (pem::chain(certificate)?, pem::key(key_pem)?);
        // Pingora would find out at the first connection only.
        pem::certified(chain.clone(), key.clone_key())?;
        let chain = chain.into_iter().map(|certificate| certificate.to_vec()).collect();
        let files = Sha256::new().chain_update(Sha256::digest(certificate)).chain_update(key_pem);
        let client = Some(Arc::new(CertKey::new(chain, key.secret_der().to_vec())));
        Ok(Self { client, made_of: [self.made_of[0], Some(files.finalize().into())], ..self })
    }

    /// The certificate and the name of the server are always verified: Pingora's default, which nothing here changes.
    pub(super) fn apply(&self, peer: &mut HttpPeer) {
        peer.options.ca = self.roots.clone();
        peer.client_cert_key = self.client.clone();
    }
}

#[cfg(test)]
mod tests {
    use pingora::upstreams::peer::Peer as _;

    use super::*;

    #[test]
    fn a_peer_gets_roots_and_certificate_and_is_verified() {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let tls = Tls::default().with_roots(certificate.as_bytes()).unwrap();
        let tls = tls.with_certificate(certificate.as_bytes(), key.as_bytes()).unwrap();
        let mut peer = HttpPeer::new("127.0.0.1:1", true, "a.example".to_owned());
        tls.apply(&mut peer);
        assert_eq!(peer.get_ca().unwrap().len(), 1);
        assert_eq!(peer.get_client_cert_key().unwrap().leaf().borrow_raw_cert().as_slice(), made.cert.der().as_ref());
        assert!(peer.verify_cert() && peer.verify_hostname());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_at_start() {
        let made = || rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let (certificate, key) = (made().cert.pem(), made().signing_key.serialize_pem());
        let refused = Tls::default().with_certificate(certificate.as_bytes(), key.as_bytes());
        assert!(matches!(refused, Err(PemError::Mismatch(_))));
    }
}
