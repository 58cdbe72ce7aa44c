//! Microsoft's own workload-identity credential for Rust, against the cluster's issuer and over TLS. The same library
//! cannot be pointed at another IMDS, and has neither a code flow nor on-behalf-of; MSAL for Python covers those
//! (`tests/interop`).

use std::path::PathBuf;
use std::sync::Arc;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{ClientAssertionCredentialOptions, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions};
use fake_entra::Options;

use crate::support::*;

const WORKLOAD: &str = "system:serviceaccount:sallyport:sallyport";
const REDIS: &str = "https://redis.azure.com/.default";

async fn acquire(bench: &Bench, subject: &str) -> azure_core::Result<AccessToken> {
    let file = TokenFile::new(&bench.entra.mint_service_account_token(subject));
    let mut cloud = CustomConfiguration::default();
    // The webhook of AKS sets it with a slash at its end.
    cloud.authority_host = format!("{}/", bench.entra.authority());
    let client_options = ClientOptions {
        cloud: Some(Arc::new(cloud.into())),
        transport: Some(Transport::new(Arc::new(bench.http.clone()))),
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    };
    let credential = WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options },
        client_id: Some(bench.entra.gateway_client_id().into()),
        tenant_id: Some(bench.entra.tenant_id().into()),
        token_file_path: Some(file.0.clone()),
    }))?;
    credential.get_token(&[REDIS], None).await
}

/// Gone when dropped.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(token: &str) -> TokenFile {
        let path = std::env::temp_dir().join(format!("fake-entra-workload-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, token).unwrap();
        TokenFile(path)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[tokio::test]
async fn workload_identity_gets_a_token_over_tls() {
    let bench = bench_of(Options { tls: true, ..Options::default() }).await;
    let token = acquire(&bench, WORKLOAD).await.unwrap();
    let shown = claims(token.token.secret());
    assert_eq!(shown["azp"], bench.entra.gateway_client_id());
    assert_eq!(shown["idtyp"], "app");
    assert_eq!(shown["azpacr"], "2");
    assert_eq!(token.expires_on.unix_timestamp(), shown["exp"].as_i64().unwrap());
}

#[tokio::test]
async fn workload_identity_reports_the_refusal_of_another_subject() {
    let bench = bench_of(Options { tls: true, ..Options::default() }).await;
    let refusal = acquire(&bench, "system:serviceaccount:default:default").await.unwrap_err();
    let mut text = refusal.to_string();
    let mut cause = std::error::Error::source(&refusal);
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(text.contains("AADSTS700213"), "{text}");
}
