//! What a TLS server shows: taken as it comes, then judged as a client of this machine would. Nothing is sent on the connection.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Finding;
use super::finding::{shown, span};
use crate::clock::Timestamp;

const CHECK: &str = "public_url.tls";

/// What was shown, and whether this machine believes it.
#[derive(Debug)]
struct Shown {
    platform: Verifier,
    chain: Mutex<Vec<CertificateDer<'static>>>,
    verdict: Mutex<Option<Error>>,
}

/// What the server on `stream` shows as `host`. `own` is the certificate that the edge itself has, if it has one.
pub async fn look(stream: TcpStream, host: &str, own: Option<&[u8]>, now: Timestamp) -> Finding {
    let shown = match handshake(stream, host).await {
        Ok(shown) => shown,
        Err(cause) => {
            let fix = "see that what listens there speaks TLS: listen.tls, or the balancer's listener";
            return Finding::fail(CHECK, format!("no TLS with {host}: {}", super::finding::shown(&cause)), fix);
        }
    };
    let chain = std::mem::take(&mut *shown.chain.lock().unwrap_or_else(PoisonError::into_inner));
    let verdict = shown.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
    judged(host, &chain, verdict, own, now)
}

async fn handshake(stream: TcpStream, host: &str) -> Result<Arc<Shown>, String> {
    let platform = Verifier::new(Arc::new(aws_lc_rs::default_provider())).map_err(|error| error.to_string())?;
    let shown = Arc::new(Shown { platform, chain: Mutex::default(), verdict: Mutex::default() });
    let config =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(shown.clone()).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match timeout(PATIENCE, connecting).await {
        Ok(Ok(_)) => Ok(shown),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).to_string()),
    }
}

fn judged(
    host: &str,
    chain: &[CertificateDer<'_>],
    verdict: Option<Error>,
    own: Option<&[u8]>,
    now: Timestamp,
) -> Finding {
    let leaf = chain.first().and_then(|der| X509Certificate::from_der(der).ok()).map(|(_, leaf)| leaf);
    let Some(leaf) = leaf else {
        return Finding::fail(
            CHECK,
            format!("{host} shows no certificate"),
            "see listen.tls, or the balancer's listener",
        );
    };
    let end = Timestamp::from_unix(u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default());
    let (names, count) = (names(&leaf), chain.len());
    let renew =
        "renew it and replace the files of listen.tls, or the balancer's; the edge takes changed files by itself";
    let what = match verdict {
        None => None,
        Some(Error::InvalidCertificate(error)) => Some(error),
        Some(other) => return Finding::fail(CHECK, format!("the certificate of {host}: {other}"), renew),
    };
    match what {
        Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Finding::fail(CHECK, format!("the certificate of {host} ended at {}", end.to_text()), renew)
        }
        Some(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => Finding::fail(
            CHECK,
            format!("the certificate of {host} does not count yet"),
            "set this machine's clock; if it is right, the certificate was made too early",
        ),
        Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => Finding::fail(
            CHECK,
            format!("{host} shows a certificate for {names}"),
            format!("use one that has {host} among its names, or correct public_url"),
        ),
        Some(CertificateError::UnknownIssuer) => Finding::fail(
            CHECK,
            format!("{host} shows {count} of a chain that ends at no root this machine trusts"),
            "put the intermediate certificates behind the first in listen.tls.certificate; if the authority is your own, add its \
             root to this machine's (and every client's)",
        ),
        Some(other) => Finding::fail(CHECK, format!("the certificate of {host}: {other}"), renew),
        None if own.is_some_and(|own| own != chain[0].as_ref()) => Finding::warn(
            CHECK,
            format!(
                "{host} shows a certificate, good until {}, that is not the one in listen.tls.certificate",
                end.to_text()
            ),
            "if something in front ends TLS, this is as it should be; else see that this configuration is the one that serves",
        ),
        None if end.remaining(now).as_secs() < SOON => {
            Finding::warn(CHECK, format!("the certificate of {host} ends in {}", left(end, now)), renew)
        }
        None => Finding::ok(
            CHECK,
            format!("{host} shows a certificate for {names}, good for {}, in a chain of {count}", left(end, now)),
        ),
    }
}

fn left(end: Timestamp, now: Timestamp) -> String {
    span(end.remaining(now).as_secs())
}

fn names(leaf: &X509Certificate<'_>) -> String {
    let names = leaf.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
    let names = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(_) => Some("an address".to_owned()),
        _ => None,
    });
    shown(&names.take(8).collect::<Vec<_>>().join(", "))
}

/// Lets the handshake come to its end whatever it thinks of the certificate, so that all of it can be told. That the server has
/// the certificate's key is required all the same.
impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        let verdict = self.platform.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict.err();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.platform.supported_verify_schemes()
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever renews by a machine does so a month before the end.
const SOON: u64 = 14 * 24 * 3600;
