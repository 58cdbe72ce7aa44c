//! The records that open with their owner's secret: a session, a pending sign-in, a code.

use std::time::Duration;

use sallyport::clock::Clock;

use super::attack::attacks;
use super::vault::Vault;
use super::{Fixture, call, count_panics, every_call_was_its_users, is_alive, sign_in};
use crate::support::browser::Browser;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client, query, sign_in_at_entra};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

/// The frame's one byte in front of what is sealed.
const FRAME: usize = 1;
/// Frame, guard and epitaph.
const GUARDED_FRAME: usize = 65;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_tampered_with_serves_nobody_and_put_right_serves_its_user() {
    let Some(fixture) = Fixture::start().await else { return };
    let vault = &fixture.vault;
    let (adele, alex) = (fixture.sign_in(ADELE).await, fixture.sign_in(ALEX).await);
    let elsewhere = fixture.sign_in_elsewhere().await;
    let before = vault.names("code");
    let back = fixture.client.authorize(&fixture.gateway, &Browser::new(), ALEX).await;
    let code = vault.new_name("code", &before);
    assert!(query(&back, "code").is_some());
    let record = adele.record("session");
    let kept = vault.keep(&record);
    let strangers = [
        ("another user's session", vault.read(&alex.record("session"))),
        ("a session of another installation", vault.read(&elsewhere.record("session"))),
        ("her listing", vault.read(&adele.record("listing"))),
        ("her generation", vault.read(&adele.record("generation"))),
        ("a code", vault.read(&code)),
        ("a code's sealed part", [b"P", &vault.read(&code)[GUARDED_FRAME..]].concat()),
    ];
    for attack in attacks(&vault.read(&record), FRAME, &strangers) {
        let served = fixture.upstream.seen().len();
        attack.strike(vault, &record);
        let status = fixture.call(ADELE, &adele.access).await;
        assert_eq!((status, fixture.refresh(&adele.refresh).await.0), (401, 400), "{}", attack.what);
        assert_eq!(fixture.upstream.seen().len(), served, "{}", attack.what);
        // Nobody else is touched.
        assert_eq!(fixture.call(ALEX, &alex.access).await, 200);
        vault.put_back(&kept);
        assert_eq!(fixture.call(ADELE, &adele.access).await, 200, "put right after: {}", attack.what);
        fixture.is_sound().await;
    }
    let (status, tokens) = fixture.refresh(&adele.refresh).await;
    assert_eq!(status, 200, "no attack has consumed it");
    assert_eq!(fixture.call(ADELE, tokens["access_token"].as_str().unwrap()).await, 200);
    fixture.is_sound().await;
}

/// With sessions at hand, as usual.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_at_hand_is_served_until_the_store_is_asked_again() {
    count_panics();
    let Some(redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let clock = Clock::manual(Clock::system().now());
    let [gateway, other] = Gateway::replicas(&upstream.url, &redis.url(), &clock).await;
    let client = Client::register(&gateway).await;
    let vault = Vault::open(&redis.url());
    let (adele, alex) =
        (sign_in(&gateway, &client, &vault, ADELE).await, sign_in(&gateway, &client, &vault, ALEX).await);
    let record = adele.record("session");
    let kept = vault.keep(&record);
    assert_eq!(call(&gateway, ADELE, &adele.access).await, 200);
    vault.write(&record, &vault.read(&alex.record("session")));
    assert_eq!(call(&other, ADELE, &adele.access).await, 401, "which has not seen it yet");
    clock.advance(Duration::from_secs(31));
    assert_eq!(call(&gateway, ADELE, &adele.access).await, 401);
    vault.put_back(&kept);
    assert_eq!(call(&gateway, ADELE, &adele.access).await, 200);
    assert_eq!(call(&other, ADELE, &adele.access).await, 200);

    // A record that is not even a string is no outage, through which sessions at hand would live.
    vault.write_list(&record);
    clock.advance(Duration::from_secs(31));
    assert_eq!(call(&gateway, ADELE, &adele.access).await, 401);
    vault.put_back(&kept);
    assert_eq!(call(&gateway, ADELE, &adele.access).await, 200);
    every_call_was_its_users(&upstream);
    is_alive(&gateway).await;
    is_alive(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_sign_in_that_was_tampered_with_is_over_and_put_right_is_completed_by_its_browser_alone() {
    let Some(fixture) = Fixture::start().await else { return };
    let (vault, gateway, client) = (&fixture.vault, &fixture.gateway, &fixture.client);
    let alex = fixture.sign_in(ALEX).await;
    let pending = async |browser: &Browser, user| {
        let before = vault.names("authorization");
        let interstitial = client.consent(gateway, browser, "allow").await;
        let name = vault.new_name("authorization", &before);
        (name, sign_in_at_entra(browser, &interstitial.next(), user).await)
    };
    let (browser, other) = (Browser::new(), Browser::new());
    let (record, callback) = pending(&browser, ADELE).await;
    let (others, others_callback) = pending(&other, ALEX).await;
    let kept = vault.keep(&record);
    let strangers = [
        ("another user's sign-in", vault.read(&others)),
        ("a session", vault.read(&alex.record("session"))),
        ("a listing", vault.read(&alex.record("listing"))),
        ("a generation", vault.read(&alex.record("generation"))),
    ];
    let redeemed_at_entra = || gateway.entra.counters().token.get("authorization_code").copied().unwrap_or_default();
    let before = redeemed_at_entra();
    for attack in attacks(&vault.read(&record), FRAME, &strangers) {
        attack.strike(vault, &record);
        let page = browser.get(&callback).await;
        assert_eq!(page.status, 400, "{}: {}", attack.what, page.body);
        assert!(page.body.contains("SP-1302"), "{}: {}", attack.what, page.body);
        vault.put_back(&kept);
        fixture.is_sound().await;
    }
    assert_eq!(redeemed_at_entra(), before, "Entra's code was never redeemed");

    // Two browsers whose records have changed places.
    let others_kept = vault.keep(&others);
    let (hers, his) = (vault.read(&record), vault.read(&others));
    vault.write(&record, &his);
    vault.write(&others, &hers);
    for (browser, callback) in [(&browser, &callback), (&other, &others_callback)] {
        assert_eq!(browser.get(callback).await.status, 400);
    }
    vault.put_back(&kept);
    vault.put_back(&others_kept);
    for (browser, callback, user) in [(&browser, &callback, ADELE), (&other, &others_callback, ALEX)] {
        let back = browser.get(callback).await;
        assert_eq!(back.status, 303, "{}", back.body);
        let code = query(&url::Url::parse(&back.next()).unwrap(), "code").unwrap();
        let (status, tokens) = client.redeem(gateway, &code).await;
        assert_eq!(status, 200, "{tokens}");
        assert_eq!(fixture.call(user, tokens["access_token"].as_str().unwrap()).await, 200);
    }
    // Put back once more: the browser has thrown its cookie away, and another browser never had it.
    for (browser, fault) in [(&browser, "SP-1301"), (&Browser::new(), "SP-1301")] {
        vault.put_back(&kept);
        let page = browser.get(&callback).await;
        assert!(page.status == 403 && page.body.contains(fault), "{}: {}", page.status, page.body);
    }
    fixture.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_was_tampered_with_is_no_grant_and_put_right_is_redeemed_by_its_verifier_alone() {
    let Some(fixture) = Fixture::start().await else { return };
    let (vault, gateway, client) = (&fixture.vault, &fixture.gateway, &fixture.client);
    let alex = fixture.sign_in(ALEX).await;
    let code = async |user| {
        let before = vault.names("code");
        let back = client.authorize(gateway, &Browser::new(), user).await;
        (vault.new_name("code", &before), query(&back, "code").unwrap())
    };
    let ((record, hers), (others, _)) = (code(ADELE).await, code(ALEX).await);
    let own = vault.read(&record);
    let kept = vault.keep(&record);
    let strangers = [
        ("another user's code with the same guard", vault.read(&others)),
        ("her own frame around another user's code", {
            [&own[..GUARDED_FRAME], &vault.read(&others)[GUARDED_FRAME..]].concat()
        }),
        ("a session", vault.read(&alex.record("session"))),
        ("a session in a code's frame", [&own[..GUARDED_FRAME], &vault.read(&alex.record("session"))[1..]].concat()),
        ("a listing", vault.read(&alex.record("listing"))),
        ("a generation", vault.read(&alex.record("generation"))),
        ("a claim without a time", [b"T", &[0; 28][..], &own[1..]].concat()),
        ("a claim of no time that there is", [b"T", &[0; 16][..], b"         nan", &own[1..GUARDED_FRAME]].concat()),
        ("a claim that is cut", [b"T", &[0; 16][..], b"000000000000", &own[1..40]].concat()),
        ("an epitaph that is cut", b"Sshort".to_vec()),
    ];
    for attack in attacks(&own, GUARDED_FRAME, &strangers) {
        attack.strike(vault, &record);
        let (status, answer) = client.redeem(gateway, &hers).await;
        let error = answer["error"].as_str();
        let refused = (status, error) == (400, Some("invalid_grant")) && !attack.is_of_another_type();
        let later = (status, error) == (503, Some("temporarily_unavailable"));
        assert!(refused || later, "{}: {status} {answer}", attack.what);
        vault.put_back(&kept);
        fixture.is_sound().await;
    }

    // Bound to a verifier of the attacker's: what it was bound to is sealed with it.
    let foreign = "a-verifier-of-somebody-else-that-is-long-enough-to-be-one";
    let (_, answer) = client.redeem_with(gateway, &hers, &[("code_verifier", foreign)]).await;
    assert_eq!(answer["error"], "invalid_grant");
    assert_eq!(vault.read(&record), own, "a wrong guess changes nothing");

    let (status, tokens) = client.redeem(gateway, &hers).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(fixture.call(ADELE, tokens["access_token"].as_str().unwrap()).await, 200);

    // Put back after its use, it counts again for its minute, for who has code and verifier: the same session of the same user.
    vault.put_back(&kept);
    let (status, again) = client.redeem(gateway, &hers).await;
    assert_eq!(status, 200, "{again}");
    assert_eq!(fixture.call(ADELE, again["access_token"].as_str().unwrap()).await, 200);
    let (status, _) = client.redeem(gateway, &hers).await;
    assert_eq!(status, 400);
    assert_eq!(
        fixture.call(ADELE, tokens["access_token"].as_str().unwrap()).await,
        401,
        "used twice, it ended the session"
    );
    fixture.is_sound().await;
}
