//! Credentials that lie in files: a certificate with its key, and for development a secret (GU-10, entra.md 5.5).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use entra::credential::{Certificate, ClientSecret, Proof};
use entra::{Client, ClientCredential, CredentialError, Error, Settings};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

/// A folder of one test's, with the two files.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("entra-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, pair: &Pair) {
        std::fs::write(self.path("certificate"), &pair.certificate).unwrap();
        std::fs::write(self.path("key"), pair.key.serialize_pem()).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Pair {
    certificate: String,
    thumbprint: String,
    key: KeyPair,
}

impl Pair {
    fn of(key: KeyPair) -> Self {
        let certificate = CertificateParams::new(vec!["gateway".to_owned()]).unwrap().self_signed(&key).unwrap();
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(certificate.der()));
        Self { certificate: certificate.pem(), thumbprint, key }
    }

    fn rsa() -> Self {
        Self::of(KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap())
    }

    /// The claims of an assertion, if this pair signed it as Entra wants.
    fn verify(&self, assertion: &str) -> Value {
        let (message, signature) = assertion.rsplit_once('.').unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let header: Value = serde_json::from_slice(&decode(header)).unwrap();
        assert_eq!(header, json!({"typ": "JWT", "alg": "PS256", "x5t#S256": self.thumbprint}));
        let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, self.key.der_bytes());
        public.verify(message.as_bytes(), &decode(signature)).unwrap();
        serde_json::from_slice(&decode(claims)).unwrap()
    }
}

struct Hands(AtomicU64);

fn certificate(stage: &Stage, folder: &Path, hands: &Arc<Hands>) -> Arc<Certificate> {
    let hands = Arc::clone(hands);
    let now = move || UNIX_EPOCH + Duration::from_secs(hands.0.load(Ordering::SeqCst));
    Arc::new(Certificate::new(folder.join("certificate"), folder.join("key"), &settings(stage), Arc::new(now)))
}

fn settings(stage: &Stage) -> Settings {
    Settings {
        authority: stage.authority(),
        client_id: GATEWAY.to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: false,
    }
}

fn endpoint(tenant: &str) -> String {
    format!("https://entra.example/{tenant}/oauth2/v2.0/token")
}

async fn assertion(credential: &Certificate) -> String {
    assertion_for(credential, &endpoint(TENANT)).await
}

async fn assertion_for(credential: &Certificate, endpoint: &str) -> String {
    match credential.proof(&endpoint.parse().unwrap()).await.unwrap() {
        Proof::Assertion(assertion) => assertion.expose().to_owned(),
        Proof::Secret(_) => panic!("a secret"),
    }
}

#[tokio::test]
async fn an_assertion_is_signed_as_entra_wants_it_and_kept_for_half_its_life() {
    let (stage, files, pair) = (Stage::start().await, Files::new("signs"), Pair::rsa());
    files.write(&pair);
    let hands = Arc::new(Hands(AtomicU64::new(NOW_S)));
    let credential = certificate(&stage, &files.0, &hands);
    let first = assertion(&credential).await;
    let claims = pair.verify(&first);
    assert_eq!(claims["aud"], endpoint(TENANT));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(GATEWAY), &json!(GATEWAY)));
    assert_eq!((&claims["iat"], &claims["nbf"], &claims["exp"]), (&json!(NOW_S), &json!(NOW_S), &json!(NOW_S + 600)));
    hands.0.fetch_add(299, Ordering::SeqCst);
    assert_eq!(assertion(&credential).await, first);
    hands.0.fetch_add(1, Ordering::SeqCst);
    let second = pair.verify(&assertion(&credential).await);
    assert_ne!(second["jti"], claims["jti"]);
    assert_eq!(second["iat"], json!(NOW_S + 300));
    // Refused for its age, it is made anew at once.
    credential.forget();
    assert_ne!(pair.verify(&assertion(&credential).await)["jti"], second["jti"]);
}

/// Each is for the token endpoint that it is shown to, and for no other tenant's.
#[tokio::test]
async fn every_tenant_has_an_assertion_of_its_own() {
    let (stage, files, pair) = (Stage::start().await, Files::new("tenants"), Pair::rsa());
    files.write(&pair);
    let credential = certificate(&stage, &files.0, &Arc::new(Hands(AtomicU64::new(NOW_S))));
    let own = assertion(&credential).await;
    let shared = assertion_for(&credential, &endpoint("organizations")).await;
    assert_eq!(pair.verify(&shared)["aud"], endpoint("organizations"));
    assert_eq!(pair.verify(&own)["aud"], endpoint(TENANT));
    assert_eq!(assertion(&credential).await, own, "both are kept");
    assert_eq!(assertion_for(&credential, &endpoint("organizations")).await, shared);
    credential.forget();
    assert_ne!(assertion(&credential).await, own);
}

#[tokio::test]
async fn a_renewed_pair_counts_and_half_a_pair_changes_nothing() {
    let (stage, files) = (Stage::start().await, Files::new("renewed"));
    let (old, new) = (Pair::rsa(), Pair::rsa());
    files.write(&old);
    let hands = Arc::new(Hands(AtomicU64::new(NOW_S)));
    let credential = certificate(&stage, &files.0, &hands);
    old.verify(&assertion(&credential).await);
    std::fs::write(files.path("key"), new.key.serialize_pem()).unwrap();
    hands.0.fetch_add(300, Ordering::SeqCst);
    old.verify(&assertion(&credential).await);
    files.write(&new);
    hands.0.fetch_add(300, Ordering::SeqCst);
    new.verify(&assertion(&credential).await);
}

#[tokio::test]
async fn what_is_no_pair_is_named_without_showing_the_key() {
    let stage = Stage::start().await;
    let (good, other) = (Pair::rsa(), Pair::rsa());
    let elliptic = Pair::of(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    for (name, certificate_text, key_text, expected) in [
        ("missing", None, None, "No such file"),
        ("no-certificate", Some("canary".to_owned()), Some(good.key.serialize_pem()), "holds no certificate in PEM"),
        ("no-key", Some(good.certificate.clone()), Some("canary".to_owned()), "holds no private key in PEM"),
        ("mismatch", Some(good.certificate.clone()), Some(other.key.serialize_pem()), "is not the certificate's key"),
        ("elliptic", Some(elliptic.certificate.clone()), Some(elliptic.key.serialize_pem()), "is no RSA key"),
    ] {
        let files = Files::new(name);
        for (file, text) in [("certificate", certificate_text), ("key", key_text)] {
            if let Some(text) = text {
                std::fs::write(files.path(file), text).unwrap();
            }
        }
        let credential = certificate(&stage, &files.0, &Arc::new(Hands(AtomicU64::new(NOW_S))));
        let error = credential.proof(&stage.authority().token_url()).await.unwrap_err();
        assert!(matches!(error, CredentialError::Broken(_)), "{name}: {error}");
        let words = error.to_string();
        assert!(words.contains(expected) && words.contains(name) && !words.contains("canary"), "{words}");
    }
}

/// What a client sends with a credential in a file.
async fn sent(stage: &Stage, credential: Arc<dyn ClientCredential>) -> Call {
    let client = Client::new(settings(stage), credential).unwrap();
    let refused = json!({"error": "invalid_client", "error_description": "AADSTS7000215: canary"});
    stage.will([answer(401, refused)]);
    let outcome = client.refresh(renewal(&"token".to_owned().into(), "scope")).await;
    assert!(matches!(outcome, Err(Error::SetUp(_))));
    stage.last_call()
}

#[tokio::test]
async fn each_kind_is_sent_in_its_own_field_and_never_both() {
    let (stage, files, pair) = (Stage::start().await, Files::new("fields"), Pair::rsa());
    files.write(&pair);
    let call = sent(&stage, certificate(&stage, &files.0, &Arc::new(Hands(AtomicU64::new(NOW_S))))).await;
    assert_eq!(call.form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    pair.verify(&call.form["client_assertion"]);
    assert!(!call.form.contains_key("client_secret"));

    std::fs::write(files.path("secret"), " the-secret\n").unwrap();
    let call = sent(&stage, Arc::new(ClientSecret::new(files.path("secret")))).await;
    assert_eq!(call.form["client_secret"], "the-secret");
    assert!(!call.form.keys().any(|key| key.starts_with("client_assertion")));
    assert!(!call.headers.contains_key("authorization"));
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_in_development_is_warned_of() {
    let stage = Stage::start().await;
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
    let secret_file = PathBuf::from("nowhere");
    entra::Credential::ClientSecret { secret_file }.source(&settings(&stage), Arc::new(now)).unwrap();
    let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("WARN") && said.contains("for development only"), "{said}");
}
