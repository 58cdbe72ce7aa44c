//! A client assertion that we sign ourselves, with the key of a certificate that the registration knows (RFC 7523 section 3,
//! entra.md 5.5): PS256, and the certificate named by its SHA-256 thumbprint.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::Serialize;
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{ClientCredential, CredentialError, Now, Proof};
use crate::{Secret, Settings};

/// Signs with the files' pair. They are read for every new assertion, so that a renewed certificate needs no restart; while
/// they cannot be used, as between the writing of the one and of the other, the last good pair goes on signing.
pub struct Certificate {
    files: Files,
    client_id: String,
    now: Now,
    kept: Mutex<Kept>,
}

#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Default)]
struct Kept {
    pair: Option<Pair>,
    /// By the token endpoint that they are for, with when to sign another one. Endpoints are few: one for each tenant.
    assertions: HashMap<String, (Secret, SystemTime)>,
}

#[derive(Clone)]
struct Pair {
    thumbprint: String,
    key: EncodingKey,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

impl Certificate {
    /// PEM files. Of the certificate's the first one counts; the key is RSA, the only kind that Entra takes.
    pub fn new(certificate_file: PathBuf, key_file: PathBuf, settings: &Settings, now: Now) -> Self {
        Self {
            files: Files { certificate: certificate_file, key: key_file },
            client_id: settings.client_id.clone(),
            now,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of this lock can panic")
    }

    /// The files' pair, or the last good one.
    async fn pair(&self) -> Result<Pair, CredentialError> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read())
            .await
            .map_err(|_| CredentialError::Unavailable("reading the certificate was cut short".into()))?;
        match (read, &mut self.kept().pair) {
            (Ok(pair), kept) => Ok(kept.insert(pair).clone()),
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "the certificate was not read anew; the last good one goes on signing");
                Ok(last.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn sign(&self, pair: &Pair, audience: &str, now: SystemTime) -> Result<Secret, CredentialError> {
        let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            aud: audience,
            iss: &self.client_id,
            sub: &self.client_id,
            jti: Uuid::new_v4().to_string(),
            iat: at,
            nbf: at,
            exp: at + LIFE.as_secs(),
        };
        let header = Header { x5t_s256: Some(pair.thumbprint.clone()), ..Header::new(Algorithm::PS256) };
        let signed = jsonwebtoken::encode(&header, &claims, &pair.key);
        signed.map(Secret::new).map_err(|error| CredentialError::Broken(format!("the key does not sign: {error}")))
    }
}

#[async_trait]
impl ClientCredential for Certificate {
    async fn proof(&self, endpoint: &Url) -> Result<Proof, CredentialError> {
        let (now, audience) = ((self.now)(), endpoint.as_str());
        if let Some((assertion, _)) = self.kept().assertions.get(audience).filter(|(_, renew_at)| now < *renew_at) {
            return Ok(Proof::Assertion(assertion.clone()));
        }
        let assertion = self.sign(&self.pair().await?, audience, now)?;
        self.kept().assertions.insert(audience.to_owned(), (assertion.clone(), now + LIFE / 2));
        Ok(Proof::Assertion(assertion))
    }

    fn forget(&self) {
        self.kept().assertions.clear();
    }

    /// Of the newest.
    fn age(&self) -> Option<Duration> {
        let newest = self.kept().assertions.values().map(|(_, renew_at)| *renew_at).max()?;
        (self.now)().duration_since(newest - LIFE / 2).ok()
    }
}

impl Files {
    fn read(&self) -> Result<Pair, CredentialError> {
        let certificate = read(&self.certificate)?;
        let broken = |file: &Path, what: &str| CredentialError::Broken(format!("{}: {what}", file.display()));
        let certificate = CertificateDer::from_pem_slice(&certificate)
            .map_err(|_| broken(&self.certificate, "holds no certificate in PEM"))?;
        let pem = read(&self.key)?;
        let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| broken(&self.key, "holds no private key in PEM"))?;
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate));
        let key = EncodingKey::from_rsa_pem(&pem).map_err(|_| broken(&self.key, "is no RSA key, as Entra wants"))?;
        // Only a pair is worth signing with: Entra would refuse it, and say only that it knows no such key.
        CertifiedKey::from_der(vec![certificate], der, &aws_lc_rs::default_provider())
            .map_err(|error| broken(&self.key, &format!("is not the certificate's key: {error}")))?;
        Ok(Pair { thumbprint, key })
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let read = std::fs::read(file).map(Zeroizing::new);
    read.map_err(|error| CredentialError::Broken(format!("{}: {error}", file.display())))
}

/// The longest that Entra takes.
const LIFE: Duration = Duration::from_secs(600);
