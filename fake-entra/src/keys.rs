//! Signing keys of an issuer: made at start, published, rolled on request, gone at the end.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::files::replace;
use crate::lock;

/// The keys of one issuer. Several are published, one signs.
pub(crate) struct KeyRing {
    keys: Mutex<Keys>,
    /// Where they are kept, if they are.
    file: Option<PathBuf>,
}

struct Keys {
    /// Oldest first.
    published: Vec<SigningKey>,
    /// `kid` of the one that signs.
    active: String,
}

struct SigningKey {
    kid: String,
    /// PKCS #8, PEM.
    pem: String,
    private: EncodingKey,
    public: DecodingKey,
    modulus: String,
    exponent: String,
    certificate: String,
}

/// A ring in a file, oldest key first.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    active: String,
    keys: Vec<KeptKey>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeptKey {
    /// PKCS #8, PEM.
    private: String,
    /// DER, base64.
    certificate: String,
}

/// The steps of a key roll-over.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// Publish one more key, sign with the old one.
    Publish,
    /// Sign with the newest published key.
    Activate,
    /// Withdraw every key but the signing one.
    Retire,
    /// A new key signs at once, all others are withdrawn.
    Emergency,
}

impl KeyRing {
    /// `count` new keys of 2048 bits; the first one signs.
    pub fn generate(count: usize) -> Result<KeyRing> {
        let published = (0..count).map(|_| SigningKey::generate()).collect::<Result<Vec<_>>>()?;
        let active = published.first().context("a ring holds at least one key")?.kid.clone();
        Ok(KeyRing { keys: Mutex::new(Keys { published, active }), file: None })
    }

    /// The ring that the file holds, or a new one, which it then holds.
    pub fn open(file: Option<PathBuf>, count: usize) -> Result<KeyRing> {
        let Some(file) = file else { return KeyRing::generate(count) };
        if file.exists() {
            let keys = Keys::read(&file).with_context(|| format!("{} holds no signing keys", file.display()))?;
            return Ok(KeyRing { keys: Mutex::new(keys), file: Some(file) });
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let ring = KeyRing { file: Some(file), ..KeyRing::generate(count)? };
        ring.keep(&lock(&ring.keys))?;
        Ok(ring)
    }

    /// A JWS in compact form, by the active key. `header` gets `alg` and `kid`.
    pub fn sign(&self, header: Value, claims: &Value) -> String {
        let keys = lock(&self.keys);
        let key = keys.active_key();
        let shown = encode_part(&with_key(header, &key.kid));
        key.sign(&shown, &shown, claims)
    }

    /// As `sign`, but what is signed is a header with `nonce` hashed: only who knows the trick can check the signature.
    /// Graph's tokens are made so, in order that nobody else accepts them.
    pub fn sign_for_graph(&self, nonce: &str, claims: &Value) -> String {
        let keys = lock(&self.keys);
        let key = keys.active_key();
        let header =
            |nonce: &str| json!({"typ": "JWT", "nonce": nonce, "alg": "RS256", "x5t": key.kid, "kid": key.kid});
        let shown = encode_part(&header(nonce));
        let signed = encode_part(&header(&hashed_nonce(nonce)));
        key.sign(&shown, &signed, claims)
    }

    /// Is `signature` over `message` by the published key `kid`?
    pub fn verify(&self, kid: &str, message: &str, signature: &str) -> bool {
        let keys = lock(&self.keys);
        keys.published.iter().any(|key| {
            key.kid == kid
                && crypto::verify(signature, message.as_bytes(), &key.public, Algorithm::RS256).unwrap_or(false)
        })
    }

    /// The JWKS. `issuer` becomes a member of every key; there is no `alg` (Entra has none).
    pub fn document(&self, issuer: Option<&str>) -> Value {
        let keys = lock(&self.keys);
        let shown: Vec<Value> = keys
            .published
            .iter()
            .map(|key| {
                let mut shown = json!({
                    "kty": "RSA", "use": "sig", "kid": key.kid, "x5t": key.kid,
                    "n": key.modulus, "e": key.exponent, "x5c": [key.certificate],
                });
                if let Some(issuer) = issuer {
                    shown["cloud_instance_name"] = json!("microsoftonline.com");
                    shown["issuer"] = json!(issuer);
                }
                shown
            })
            .collect();
        json!({ "keys": shown })
    }

    pub fn rotate(&self, step: Rotation) -> Result<()> {
        let fresh = match step {
            Rotation::Publish | Rotation::Emergency => Some(SigningKey::generate()?),
            Rotation::Activate | Rotation::Retire => None,
        };
        let mut keys = lock(&self.keys);
        let newest = fresh.as_ref().or(keys.published.last()).context("a ring holds at least one key")?.kid.clone();
        if step == Rotation::Emergency {
            keys.published.clear();
        }
        keys.published.extend(fresh);
        match step {
            Rotation::Publish => {}
            Rotation::Activate | Rotation::Emergency => keys.active = newest,
            Rotation::Retire => {
                let active = keys.active.clone();
                keys.published.retain(|key| key.kid == active);
            }
        }
        self.keep(&keys)
    }

    fn keep(&self, keys: &Keys) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        replace(file, 0o600, serde_json::to_string_pretty(&keys.kept())?.as_bytes())
    }
}

impl Keys {
    fn read(file: &Path) -> Result<Keys> {
        let kept: Kept = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let published = kept.keys.into_iter().map(SigningKey::restore).collect::<Result<Vec<_>>>()?;
        let active =
            published.iter().find(|key| key.kid == kept.active).context("the active key is not there")?.kid.clone();
        Ok(Keys { published, active })
    }

    fn kept(&self) -> Kept {
        let kept = |key: &SigningKey| KeptKey { private: key.pem.clone(), certificate: key.certificate.clone() };
        Kept { active: self.active.clone(), keys: self.published.iter().map(kept).collect() }
    }

    fn active_key(&self) -> &SigningKey {
        self.published.iter().find(|key| key.kid == self.active).expect("the active key is never withdrawn")
    }
}

impl SigningKey {
    fn generate() -> Result<SigningKey> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).context("RSA key generation failed")?;
        let pkcs8 = AsDer::<Pkcs8V1Der>::as_der(&pair).context("RSA key has no PKCS #8 form")?;
        SigningKey::new(&pair, pem(pkcs8.as_ref()), self_signed(pkcs8.as_ref())?)
    }

    fn restore(kept: KeptKey) -> Result<SigningKey> {
        let base64: String = kept.private.lines().filter(|line| !line.starts_with("-----")).collect();
        let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(base64)?).map_err(|_| anyhow!("a key is no RSA key"))?;
        SigningKey::new(&pair, kept.private, STANDARD.decode(kept.certificate)?)
    }

    fn new(pair: &RsaKeyPair, pem: String, certificate: Vec<u8>) -> Result<SigningKey> {
        let private = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let public = pair.public_key();
        let (modulus, exponent) = (
            URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        );
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        Ok(SigningKey {
            kid: URL_SAFE_NO_PAD.encode(thumbprint),
            pem,
            private,
            public: DecodingKey::from_rsa_components(&modulus, &exponent)?,
            modulus,
            exponent,
            certificate: STANDARD.encode(certificate),
        })
    }

    fn sign(&self, shown: &str, signed: &str, claims: &Value) -> String {
        let claims = encode_part(claims);
        let signature = crypto::sign(format!("{signed}.{claims}").as_bytes(), &self.private, Algorithm::RS256)
            .expect("a key this module generated signs");
        format!("{shown}.{claims}.{signature}")
    }
}

/// The nonce as Graph's signatures cover it.
pub(crate) fn hashed_nonce(nonce: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, nonce.as_bytes()))
}

pub(crate) fn encode_part(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn with_key(mut header: Value, kid: &str) -> Value {
    header["alg"] = json!("RS256");
    if header.get("x5t").is_some() {
        header["x5t"] = json!(kid);
    }
    header["kid"] = json!(kid);
    header
}

fn self_signed(pkcs8: &[u8]) -> Result<Vec<u8>> {
    let key = rcgen::KeyPair::try_from(pkcs8).context("key for the certificate")?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "fake-entra signing");
    Ok(params.self_signed(&key)?.der().to_vec())
}

fn pem(pkcs8: &[u8]) -> String {
    let body = STANDARD.encode(pkcs8);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}
