//! What proves us to Entra: shown as far as it must be compared with the app registration, and never itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ::entra::credential::Proof;
use ::entra::{ClientCredential, Credential, Secret, Url};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Finding;
use super::finding::{shown, span};
use crate::clock::Timestamp;
use crate::pem;

const CHECK: &str = "entra.credential";

/// The first failure says that there is nothing to show to Entra.
pub async fn look(
    kind: &Credential,
    source: &dyn ClientCredential,
    endpoint: &Url,
    audience: &str,
    now: Timestamp,
) -> Vec<Finding> {
    let proof = match source.proof(endpoint).await {
        Ok(proof) => proof,
        Err(error) => return vec![Finding::fail(CHECK, shown(&error.to_string()), absent(kind))],
    };
    let mut findings = match (kind, proof) {
        (Credential::Certificate { certificate_file, .. }, _) => vec![of_certificate(certificate_file, now)],
        (_, Proof::Assertion(assertion)) => vec![of_assertion(&assertion, audience, now)],
        (_, Proof::Secret(_)) => vec![Finding::warn(
            CHECK,
            "is a client secret: whoever reads its file is this application until somebody notices",
            "entra.credential.kind = \"workload-identity\", \"managed-identity\" or \"certificate\"",
        )],
    };
    let secret = match kind {
        Credential::WorkloadIdentity { token_file } => Some(token_file),
        Credential::ManagedIdentity { .. } => None,
        Credential::Certificate { key_file, .. } => Some(key_file),
        Credential::ClientSecret { secret_file } => Some(secret_file),
    };
    findings.extend(secret.and_then(|file| of_permissions(file)));
    findings
}

fn absent(kind: &Credential) -> &'static str {
    match kind {
        Credential::WorkloadIdentity { .. } => {
            "see entra.credential.token_file, and that the token is projected into it (a label on the pod, and its service \
             account's)"
        }
        Credential::ManagedIdentity { .. } => {
            "run it where the identity is: give the machine a managed identity, and its id as entra.credential.client_id if there \
             are several"
        }
        Credential::Certificate { .. } => "see entra.credential.certificate_file and key_file: PEM, RSA, and a pair",
        Credential::ClientSecret { .. } => "see entra.credential.secret_file: one line",
    }
}

/// Whoever signed it, Entra will see to that; here is what can be wrong on our side.
fn of_assertion(assertion: &Secret, audience: &str, now: Timestamp) -> Finding {
    let claims = assertion.expose().split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    let Some(claims) = claims.filter(Value::is_object) else {
        let fix = "a projected service account token or a managed identity's token belongs here";
        return Finding::fail(CHECK, "the assertion is no token", fix);
    };
    let text = |name: &str| shown(claims[name].as_str().unwrap_or("none"));
    let audiences: Vec<&str> = match &claims["aud"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    // Tokens of managed identities have its id in the place of its name, which is what the federated credential says.
    let own = if audiences == [EXCHANGE_ID] { audience.to_owned() } else { shown(&audiences.join(", ")) };
    let (issuer, subject) = (text("iss"), text("sub"));
    let said = format!("issuer {issuer} · subject {subject} · audience {own}");
    match claims["exp"].as_u64().map(Timestamp::from_unix) {
        Some(end) if end.has_passed(now) => Finding::fail(
            CHECK,
            format!("{said}: expired {} ago", span(now.unix() - end.unix())),
            "see that the token's file is renewed (the kubelet does that), and set this machine's clock",
        ),
        _ if own != audience && !audiences.contains(&audience) => Finding::fail(
            CHECK,
            format!("{said}: the audience must be {audience}"),
            format!("project the token with the audience {audience}, and give the federated credential the same"),
        ),
        end => {
            let left = end.map(|end| format!(", for {} more", span(end.remaining(now).as_secs())));
            let left = left.unwrap_or_default();
            Finding::ok(CHECK, format!("{said}{left}. The app registration's federated credential must say the same"))
        }
    }
}

fn of_certificate(file: &Path, now: Timestamp) -> Finding {
    let chain = fs::read(file).map_err(|error| error.to_string());
    let chain = chain.and_then(|pem| pem::chain(&pem).map_err(|error| error.to_string()));
    let ends = chain.and_then(|chain| match chain.first().and_then(|der| X509Certificate::from_der(der).ok()) {
        Some((_, certificate)) => Ok(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default()),
        None => Err("holds no certificate".to_owned()),
    });
    let file = file.display();
    let renew = "make another pair and upload its certificate to the app registration; then replace the files";
    match ends.map(Timestamp::from_unix) {
        Err(error) => Finding::fail(CHECK, format!("{file} {error}"), renew),
        Ok(end) if end.has_passed(now) => {
            Finding::fail(CHECK, format!("the certificate in {file} ended at {}", end.to_text()), renew)
        }
        Ok(end) if end.remaining(now).as_secs() < SOON => {
            Finding::warn(CHECK, format!("the certificate in {file} ends at {}", end.to_text()), renew)
        }
        Ok(end) => Finding::ok(CHECK, format!("the certificate in {file} is good until {}", end.to_text())),
    }
}

fn of_permissions(file: &Path) -> Option<Finding> {
    let mode = fs::metadata(file).ok()?.mode() & 0o777;
    let says = format!("{} has mode {mode:o}: everybody on this machine may read it", file.display());
    let fix = format!("chmod 600 {}, as its owner", file.display());
    (mode & READ_BY_OTHERS != 0).then(|| Finding::warn("entra.credential_file", says, fix))
}

/// Entra's exchange of assertions, as an application (entra.md 5.5).
const EXCHANGE_ID: &str = "fb60f99c-7a34-4190-8149-302f77469936";
const READ_BY_OTHERS: u32 = 0o004;
const SOON: u64 = 30 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    const AUDIENCE: &str = "api://AzureADTokenExchange";

    fn found(claims: &str) -> Finding {
        let token = format!("canary-head.{}.canary-signature", BASE64_URL_SAFE_NO_PAD.encode(claims));
        of_assertion(&Secret::new(token), AUDIENCE, Timestamp::from_unix(1000))
    }

    #[test]
    fn an_assertion_shows_what_is_to_be_compared_and_nothing_else() {
        let good = found(
            r#"{"iss":"https://c.example","sub":"system:serviceaccount:a:b","aud":["api://AzureADTokenExchange"],"exp":4600,"x":"canary"}"#,
        );
        assert_eq!(good.level, Level::Ok);
        let said = "issuer https://c.example · subject system:serviceaccount:a:b · audience api://AzureADTokenExchange, \
                    for 1 hour more. The app registration's federated credential must say the same";
        assert_eq!(good.says, said);
        for (claims, words) in [
            (r#"{"iss":"i","sub":"s","aud":"api://AzureADTokenExchange","exp":940}"#, "expired 1 minute ago"),
            (
                r#"{"iss":"i","sub":"s","aud":"https://kubernetes.default.svc","exp":4600}"#,
                "the audience must be api://",
            ),
            ("canary", "is no token"),
        ] {
            let finding = found(claims);
            assert_eq!(finding.level, Level::Fail);
            assert!(finding.says.contains(words) && !finding.says.contains("canary"), "{finding:?}");
        }
    }
}
