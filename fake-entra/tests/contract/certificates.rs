//! Assertions signed with the key of a registered certificate, in every form that real clients send.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use fake_entra::{Options, Seed};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

/// A key, its certificate, and the time now.
struct Signer {
    key: EncodingKey,
    pem: String,
    der: Vec<u8>,
}

impl Signer {
    fn new() -> Signer {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der = pair.as_der().unwrap();
        let named = rcgen::KeyPair::try_from(pkcs8.as_ref()).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&named).unwrap();
        let key = EncodingKey::from_rsa_pem(named.serialize_pem().as_bytes()).unwrap();
        Signer { key, pem: certificate.pem(), der: certificate.der().to_vec() }
    }

    fn thumbprint(&self) -> Vec<u8> {
        Sha256::digest(&self.der).to_vec()
    }

    fn sign(&self, header: &Value, claims: &Value, algorithm: Algorithm) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// As our gateway makes it, with changed claims (`null` removes one).
    fn assertion(&self, bench: &Bench, changes: Value) -> String {
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(self.thumbprint())});
        self.sign(&header, &with(claims_for(bench), changes), Algorithm::PS256)
    }
}

fn claims_for(bench: &Bench) -> Value {
    let now = now();
    json!({
        "aud": bench.url("/oauth2/v2.0/token"), "iss": bench.entra.gateway_client_id(),
        "sub": bench.entra.gateway_client_id(), "jti": "6b2f", "nbf": now, "iat": now, "exp": now + 600,
    })
}

fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[expect(clippy::disallowed_methods, reason = "a client of the stand-in has a clock of its own")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

async fn registered(signer: &Signer) -> Bench {
    let mut seed = Seed::default();
    let gateway = seed.gateway.clone();
    seed.apps.iter_mut().find(|app| app.client_id == gateway).unwrap().certificates = vec![signer.pem.clone()];
    bench_of(Options { seed, ..Options::default() }).await
}

async fn attempt(bench: &Bench, assertion: &str) -> Answer {
    let form = changed(
        &[
            ("client_id", bench.entra.gateway_client_id()),
            ("grant_type", "client_credentials"),
            ("scope", "https://redis.azure.com/.default"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ],
        &[],
    );
    bench.token(&form).await
}

#[tokio::test]
async fn ps256_by_the_sha256_thumbprint_is_accepted_and_may_come_again() {
    let signer = Signer::new();
    let bench = registered(&signer).await;
    let assertion = signer.assertion(&bench, json!({}));
    for _ in 0..2 {
        let answer = attempt(&bench, &assertion).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(claims(answer.json()["access_token"].as_str().unwrap())["azpacr"], "2");
    }
}

/// msal-python pads and writes floats, MSAL for Go uses standard base64, MSAL.NET writes strings; older ones sign RS256.
#[tokio::test]
async fn the_forms_of_real_clients_are_accepted() {
    let signer = Signer::new();
    let bench = registered(&signer).await;
    let padded = json!({"alg": "PS256", "x5t#S256": URL_SAFE.encode(signer.thumbprint())});
    let standard = json!({"alg": "PS256", "x5t#S256": STANDARD.encode(signer.thumbprint())});
    let python = with(claims_for(&bench), json!({"nbf": null, "exp": now() as f64 + 600.5}));
    let net = with(claims_for(&bench), json!({"nbf": now().to_string(), "exp": (now() + 600).to_string()}));
    for assertion in [
        signer.sign(&padded, &python, Algorithm::PS256),
        signer.sign(&standard, &net, Algorithm::PS256),
        signer.sign(&with(padded.clone(), json!({"alg": "RS256"})), &python, Algorithm::RS256),
        signer.assertion(&bench, json!({"aud": format!("{}/v2.0", bench.url(""))})),
    ] {
        let answer = attempt(&bench, &assertion).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &signer.der);
    let old = json!({"alg": "RS256", "x5t": URL_SAFE_NO_PAD.encode(sha1)});
    assert_eq!(attempt(&bench, &signer.sign(&old, &python, Algorithm::RS256)).await.status, 200);
}

#[tokio::test]
async fn everything_about_an_assertion_is_checked() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let bench = registered(&signer).await;
    let forged = json!({"alg": "PS256", "x5t#S256": URL_SAFE_NO_PAD.encode(signer.thumbprint())});
    let mixed = with(forged.clone(), json!({"alg": "RS256"}));
    let past = json!({"nbf": now() - 7200, "exp": now() - 3600});
    for (assertion, number) in [
        (stranger.assertion(&bench, json!({})), 700027),
        (stranger.sign(&forged, &claims_for(&bench), Algorithm::PS256), 700027),
        (signer.sign(&mixed, &claims_for(&bench), Algorithm::PS256), 700027),
        (signer.assertion(&bench, past), 700024),
        (signer.assertion(&bench, json!({"exp": null})), 700024),
        (signer.assertion(&bench, json!({"sub": bench.entra.server_client_id()})), 700021),
        (signer.assertion(&bench, json!({"aud": "https://login.example/token"})), 700023),
        (signer.assertion(&bench, json!({"aud": null})), 700023),
        // Whoever is not the client is a foreign issuer, whose token no credential of the app trusts.
        (signer.assertion(&bench, json!({"iss": bench.entra.server_client_id()})), 700211),
    ] {
        assert_eq!(attempt(&bench, &assertion).await.error(), ("invalid_client".into(), number));
    }
}

#[tokio::test]
async fn an_app_without_a_certificate_takes_none() {
    let signer = Signer::new();
    let bench = bench().await;
    let refusal = attempt(&bench, &signer.assertion(&bench, json!({}))).await;
    assert_eq!(refusal.error(), ("invalid_client".into(), 700027));
    let text = refusal.json()["error_description"].as_str().unwrap().to_owned();
    assert!(text.contains("[Reason - The key was not found., Thumbprint of key used by client: '"), "{text}");
}

#[tokio::test]
async fn a_secret_expires() {
    let mut seed = Seed::default();
    let gateway = seed.gateway.clone();
    let secret: fake_entra::directory::Secret =
        serde_json::from_value(json!({"value": "s3cret", "expires": now() + 60})).unwrap();
    seed.apps.iter_mut().find(|app| app.client_id == gateway).unwrap().secrets = vec![secret];
    let bench = bench_with(seed).await;
    let form = changed(
        &[
            ("client_id", bench.entra.gateway_client_id()),
            ("grant_type", "client_credentials"),
            ("scope", "https://redis.azure.com/.default"),
            ("client_secret", "s3cret"),
        ],
        &[],
    );
    assert_eq!(bench.token(&form).await.status, 200);
    bench.entra.set_clock_offset(120);
    assert_eq!(bench.token(&form).await.error(), ("invalid_client".into(), 7000222));
}
