//! What Entra gave is found nowhere but where it belongs: not in logs, pages, metrics or Redis (T36, T39, I2).

use sallyport::store;
use serde_json::json;

use crate::support::browser::{Browser, http_client};
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client, query, sign_in_at_entra};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn no_secret_of_a_sign_in_is_found_in_pages_metrics_or_redis() {
    let Some(redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(Options {
        store: store::Settings::Redis(store::RedisSettings::new(redis.url().parse().unwrap())),
        ..Options::simple(&upstream.url)
    })
    .await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    let mut text = String::new();

    let interstitial = client.consent(&gateway, &browser, "allow").await;
    text += &interstitial.body;
    let callback = sign_in_at_entra(&browser, &interstitial.next(), ADELE).await;
    let back = browser.get(&callback).await;
    text += &format!("{} {:?}", back.body, back.headers);
    let location = url::Url::parse(&back.next()).unwrap();
    let (_, answer) = client.redeem(&gateway, &query(&location, "code").unwrap()).await;
    text += &answer.to_string();
    let token = answer["access_token"].as_str().unwrap();
    let call = http_client().post(gateway.url("/mcp")).bearer_auth(token).json(&json!({})).send().await.unwrap();
    text += &format!("{:?}", call.headers());
    text += &call.text().await.unwrap();
    text += &http_client().get(gateway.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();

    let dump = redis.dump();
    assert!(dump.windows(18).any(|window| window == b"sallyport:session:"), "the dump holds the session");
    assert!(dump.windows(18).any(|window| window == b"sallyport:listing:"), "and who is signed in");
    let canaries = gateway.entra.canaries();
    assert!(canaries.len() >= 3, "a code, a token and an assertion were planted");
    for canary in canaries {
        assert!(!text.contains(&canary), "an answer holds {}…", &canary[..12]);
        assert!(
            !dump.windows(canary.len()).any(|window| window == canary.as_bytes()),
            "Redis holds {}…",
            &canary[..12]
        );
    }
    // Nor is anything of ours there in clear: tokens, the user, the client.
    for canary in [token, ADELE, "Test client", client.id.as_str()] {
        assert!(!dump.windows(canary.len()).any(|window| window == canary.as_bytes()), "Redis holds {canary}");
    }
}
