//! The edge's certificate, and the clients' if they must have one: read from files, and taken anew while the server runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::file_watch::{FileWatch, Reload, Stamp};
use crate::clock::{Clock, Timestamp};
use crate::metrics::Metrics;
use crate::pem::{self, PemError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then its chain.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Roots of trust: a client must present a certificate of theirs. Read at the start only.
    pub client_ca: Option<PathBuf>,
}

/// Why files are no certificate and key. Never says what is in the key's file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate's file cannot be read: {0}")]
    Certificate(io::Error),
    #[error("the key's file cannot be read: {0}")]
    Key(io::Error),
    #[error("the certificate's file {0}")]
    NoCertificate(PemError),
    #[error("the key's file {0}")]
    NoKey(PemError),
    #[error("the key {0}")]
    Mismatch(PemError),
    #[error("the file of the clients' roots of trust: {0}")]
    ClientCa(String),
    #[error("the versions of TLS: {0}")]
    Versions(rustls::Error),
}

impl TlsError {
    /// The key of `[listen.tls]` that names the file in question.
    pub fn key(&self) -> &'static str {
        match self {
            TlsError::Certificate(_) | TlsError::NoCertificate(_) | TlsError::Versions(_) => "certificate",
            TlsError::Key(_) | TlsError::NoKey(_) | TlsError::Mismatch(_) => "key",
            TlsError::ClientCa(_) => "client_ca",
        }
    }
}

/// What every handshake asks for the certificate of the moment.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

pub struct CertificateFiles {
    files: TlsFiles,
    current: Arc<Current>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// A certificate with its key, and when it ends.
struct Loaded {
    certified: Arc<CertifiedKey>,
    ends: Timestamp,
}

impl TlsFiles {
    /// Whether the server can start with them.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load()?;
        self.client_roots().map(drop)
    }

    fn load(&self) -> Result<Loaded, TlsError> {
        let pem = fs::read(&self.certificate).map_err(TlsError::Certificate)?;
        let chain = pem::chain(&pem).map_err(TlsError::NoCertificate)?;
        let ends = chain.first().and_then(ends).ok_or(TlsError::NoCertificate(PemError::NoCertificate))?;
        let pem = zeroize::Zeroizing::new(fs::read(&self.key).map_err(TlsError::Key)?);
        let key = pem::key(&pem).map_err(TlsError::NoKey)?;
        let certified = pem::certified(chain, key).map_err(TlsError::Mismatch)?;
        Ok(Loaded { certified: Arc::new(certified), ends })
    }

    fn client_roots(&self) -> Result<Option<Arc<RootCertStore>>, TlsError> {
        let Some(file) = &self.client_ca else { return Ok(None) };
        let pem = fs::read(file).map_err(|error| TlsError::ClientCa(format!("it cannot be read: {error}")))?;
        let mut store = RootCertStore::empty();
        for root in pem::roots(&pem).map_err(|error| TlsError::ClientCa(format!("it {error}")))? {
            store.add(root).map_err(|error| TlsError::ClientCa(error.to_string()))?;
        }
        Ok(Some(Arc::new(store)))
    }
}

/// The listeners' TLS, and what keeps its certificate up to date. TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
pub fn open(
    files: TlsFiles,
    clock: Clock,
    metrics: &Arc<Metrics>,
) -> Result<(Acceptor, FileWatch<CertificateFiles>), TlsError> {
    let watched = vec![files.certificate.clone(), files.key.clone()];
    let started = Stamp::of_all(&watched);
    let loaded = files.load()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let config = config.map_err(TlsError::Versions)?;
    let config = match files.client_roots()? {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            config.with_client_cert_verifier(verifier.map_err(|error| TlsError::ClientCa(error.to_string()))?)
        }
        None => config.with_no_client_auth(),
    };
    let current = Arc::new(Current(ArcSwap::from(loaded.certified.clone())));
    let mut config = config.with_cert_resolver(current.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let watch = CertificateFiles { files, current, clock, metrics: metrics.clone() };
    watch.show(&loaded);
    Ok((Acceptor::from_server_config(Arc::new(config)), FileWatch::new(watched, started, watch)))
}

impl Reload for CertificateFiles {
    /// The files are two, and change one after the other: a pair that does not fit is an old and a new one, and when the
    /// other file has changed too it is read again.
    fn reload(&self) {
        let loaded = self.files.load();
        self.metrics.certificate_reloaded(loaded.is_ok());
        let file = self.files.certificate.display();
        match loaded {
            Ok(loaded) => {
                self.current.0.store(loaded.certified.clone());
                tracing::info!(%file, ends = loaded.ends.unix(), "certificate reloaded");
                self.show(&loaded);
            }
            Err(cause) => tracing::error!(%file, %cause, "certificate not reloaded, the one before stays"),
        }
    }
}

impl CertificateFiles {
    fn show(&self, loaded: &Loaded) {
        self.metrics.certificate_ends(loaded.ends.unix());
        if loaded.ends.has_passed(self.clock.now()) {
            tracing::error!(file = %self.files.certificate.display(), "the certificate has ended: clients refuse it");
        }
    }
}

impl ResolvesServerCert for Current {
    /// Whatever name is asked for: a client that does not find it in the certificate leaves.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn ends(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Timestamp::from_unix(certificate.validity().not_after.timestamp().try_into().ok()?))
}
