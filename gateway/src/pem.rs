//! Certificates and keys in PEM: read, and checked for what TLS will ask of them. Knows no file, and never says what is in a key.

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    #[error("holds no certificate, or a broken one: it must be PEM, the certificate first and then its chain")]
    NoCertificate,
    #[error("holds no private key in PEM")]
    NoKey,
    #[error("is of no kind that can be used, or belongs to another certificate: {0}")]
    Mismatch(rustls::Error),
    #[error("holds a certificate that cannot be used: {0}")]
    BadRoot(String),
    #[error("holds no certificate in PEM")]
    NoRoot,
}

/// A certificate, then its chain. Each is well-formed.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| PemError::NoCertificate)?;
    let well_formed = chain.iter().all(|certificate| X509Certificate::from_der(certificate).is_ok());
    if well_formed && !chain.is_empty() { Ok(chain) } else { Err(PemError::NoCertificate) }
}

pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| PemError::NoKey)
}

/// A certificate with its own key.
pub fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, PemError> {
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(PemError::Mismatch)
}

/// Roots of trust: one at least, and no broken one.
pub fn roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut store = RootCertStore::empty();
    let mut roots = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| PemError::BadRoot(error.to_string()))?;
        store.add(certificate.clone()).map_err(|error| PemError::BadRoot(error.to_string()))?;
        X509Certificate::from_der(&certificate).map_err(|error| PemError::BadRoot(error.to_string()))?;
        roots.push(certificate);
    }
    if roots.is_empty() { Err(PemError::NoRoot) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_its_certificate() {
        let made = || rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let chain = || chain(one.cert.pem().as_bytes()).unwrap();
        assert!(certified(chain(), key(one.signing_key.serialize_pem().as_bytes()).unwrap()).is_ok());
        let wrong = certified(chain(), key(other.signing_key.serialize_pem().as_bytes()).unwrap());
        assert!(matches!(wrong, Err(PemError::Mismatch(_))));
        assert!(matches!(key(one.cert.pem().as_bytes()), Err(PemError::NoKey)));
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "text", broken] {
            assert!(matches!(chain(pem.as_bytes()), Err(PemError::NoCertificate)), "{pem}");
        }
        assert!(matches!(roots(b""), Err(PemError::NoRoot)));
        assert!(matches!(roots(broken.as_bytes()), Err(PemError::BadRoot(_))));
    }
}
