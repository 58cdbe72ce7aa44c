//! What one upstream wants of a user is not asked on the way to another, which a hostile one could otherwise bar.

use fake_entra::{Fault, Match};
use sallyport::clock::Clock;
use sallyport::oauth::Remember;
use sallyport::pool;
use sallyport::server::UpstreamSettings;

use super::claims::policy;
use super::guard::Guard;
use super::refused::{Fixture, assert_plain_challenge};
use crate::support::browser::Browser;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_challenge_of_one_upstream_bars_the_way_to_no_other() {
    let (guard, other) = (Guard::start().await, Upstream::start().await);
    let clock = Clock::manual(Clock::system().now());
    let gateway = Gateway::start_at(&guard.url, &clock, |settings, _| {
        settings.remember = Remember::Always;
        let scope = settings.upstreams[0].scope.clone();
        let pool = pool::Settings::single("other", &other.url);
        settings.upstreams.push(UpstreamSettings {
            path: "/other".to_owned(),
            scope,
            pool,
            access: Default::default(),
        });
    })
    .await;
    let client = Client::register(&gateway).await;
    let fixture = Fixture { guard, clock, gateway, client };
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known(&[&policy()]);
    let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
    fixture.gateway.entra.fault(Fault { matching, aadsts: Some(50076), ..Fault::default() });
    assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, "second").await).await;

    let elsewhere = Client { id: fixture.client.id.clone(), resource: fixture.gateway.url("/other") };
    let back = elsewhere.authorize(&fixture.gateway, &Browser::new(), ADELE).await;
    assert!(back.as_str().starts_with("http://127.0.0.1:9/callback?code="), "{back}");
    // It still waits on the way to the one that asked.
    let again = fixture.client.authorize(&fixture.gateway, &Browser::new(), ADELE).await;
    assert!(again.as_str().contains("claims="), "{again}");
}
