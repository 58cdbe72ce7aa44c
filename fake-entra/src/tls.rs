//! TLS for clients that refuse an `http` authority, as every SDK of Microsoft's does: an authority made at start, good for
//! loopback names and forgotten at exit. Clients are handed its certificate, never their own store of roots.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// What the listener serves, and what its clients have to trust.
pub(crate) struct Tls {
    pub acceptor: TlsAcceptor,
    /// PEM.
    pub authority: String,
}

impl Tls {
    /// # Errors
    /// No key or certificate could be made.
    pub fn generate() -> Result<Tls> {
        let (authority, issuer) = authority()?;
        let key = KeyPair::generate().context("key of the TLS certificate")?;
        let mut leaf = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, "fake-entra");
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&key, &issuer)?;
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        // The provider is named: whoever embeds the stand-in may have installed none yet.
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private.into())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>)> {
    let key = KeyPair::generate().context("key of the authority")?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "fake-entra authority");
    // It signs one certificate and nothing below it.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Issuer::new(params, key)))
}
