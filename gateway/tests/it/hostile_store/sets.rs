//! What operators see, listings and the sets of sessions: tampering hides a session or makes the list fail aloud, and names
//! nobody who is not meant.

use redis::cmd;
use serde_json::Value;
use url::Url;

use super::Fixture;
use super::attack::attacks;
use crate::support::browser::{Browser, http_client};
use crate::support::journey::{ADELE, ALEX, query};

impl Fixture {
    /// `GET /sessions`.
    async fn list(&self, selector: Option<(&str, &str)>) -> (u16, Value) {
        let url = Url::parse_with_params(&self.gateway.admin_url("/sessions"), selector).unwrap();
        let answer = http_client().get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// The logins of those that a list names.
    async fn listed(&self, selector: Option<(&str, &str)>) -> Vec<String> {
        let (status, list) = self.list(selector).await;
        assert_eq!(status, 200);
        let logins = list["sessions"].as_array().unwrap().iter();
        logins.filter_map(|session| session["user"]["login"].as_str()).map(str::to_owned).collect()
    }

    fn members(&self, set: &str) -> Vec<Vec<u8>> {
        self.vault.ask(cmd("ZRANGE").arg(set).arg(0).arg(-1))
    }

    fn add(&self, set: &str, member: &[u8]) {
        self.vault.ask::<()>(cmd("ZADD").arg(set).arg(99_999_999_999_u64).arg(member));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_was_tampered_with_names_nobody_and_the_session_is_served_as_before() {
    let Some(fixture) = Fixture::start().await else { return };
    let vault = &fixture.vault;
    let (adele, alex) = (fixture.sign_in(ADELE).await, fixture.sign_in(ALEX).await);
    let elsewhere = fixture.sign_in_elsewhere().await;
    let record = adele.record("listing");
    let kept = vault.keep(&record);
    let strangers = [
        ("another user's listing", vault.read(&alex.record("listing"))),
        ("a listing of another installation", vault.read(&elsewhere.record("listing"))),
        ("her session", vault.read(&adele.record("session"))),
        ("her generation", vault.read(&adele.record("generation"))),
    ];
    // It is text: what stands for the version is in the first six characters, and changing any of them changes it all.
    for attack in attacks(&vault.read(&record), 1, &strangers) {
        attack.strike(vault, &record);
        let (status, list) = fixture.list(Some(("user", ADELE))).await;
        assert_eq!((status, &list["unknown"]), (200, &Value::from(1)), "{}: {list}", attack.what);
        assert_eq!(list["sessions"].as_array().unwrap().len(), 0, "{}", attack.what);
        assert_eq!(fixture.listed(Some(("user", ALEX))).await, [ALEX], "{}", attack.what);
        assert_eq!(fixture.call(ADELE, &adele.access).await, 200, "{}", attack.what);
        vault.put_back(&kept);
        fixture.is_sound().await;
    }
    assert_eq!(fixture.listed(Some(("user", ADELE))).await, [ADELE]);
    // A listing of somebody else's in its place does not make the session end in that user's stead.
    vault.write(&record, &vault.read(&alex.record("listing")));
    let revoke = serde_json::json!({ "user": ALEX });
    let answer = http_client().post(fixture.gateway.admin_url("/sessions/revoke")).json(&revoke).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["ended"], &answer["unknown"], &answer["complete"]), (&1.into(), &1.into(), &false.into()));
    assert_eq!(fixture.call(ALEX, &alex.access).await, 401);
    assert_eq!(fixture.call(ADELE, &adele.access).await, 200);

    // Nor does one that is no string keep anybody from being signed out.
    let alex = fixture.sign_in(ALEX).await;
    vault.write_list(&record);
    let revoke = serde_json::json!({ "all": true });
    let answer = http_client().post(fixture.gateway.admin_url("/sessions/revoke")).json(&revoke).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["ended"], &answer["complete"]), (&2.into(), &true.into()), "{answer}");
    assert_eq!((fixture.call(ADELE, &adele.access).await, fixture.call(ALEX, &alex.access).await), (401, 401));
    fixture.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_was_tampered_with_names_nobody_else_and_makes_nobody_another() {
    let Some(fixture) = Fixture::start().await else { return };
    let vault = &fixture.vault;
    let before = vault.names("user");
    let adele = fixture.sign_in(ADELE).await;
    let hers = vault.new_name("user", &before);
    let before = vault.names("user");
    let alex = fixture.sign_in(ALEX).await;
    let his = vault.new_name("user", &before);
    let (_, list) = fixture.list(Some(("user", ADELE))).await;
    let object_id = list["sessions"][0]["user"]["object_id"].as_str().unwrap().to_owned();
    let by_object_id = Some(("user", object_id.as_str()));

    // His session in her set, and what is no member at all.
    let kept = vault.keep(&hers);
    fixture.add(&hers, &fixture.members(&his)[0]);
    for member in [&b""[..], b"short", &[7; 35], &[7; 36], &[7; 37], &vec![7; 1 << 20]] {
        fixture.add(&hers, member);
    }
    assert_eq!(fixture.listed(by_object_id).await, [ADELE]);
    let revoke = serde_json::json!({ "user": object_id });
    let answer = http_client().post(fixture.gateway.admin_url("/sessions/revoke")).json(&revoke).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["ended"], &answer["complete"]), (&1.into(), &true.into()), "{answer}");
    assert_eq!((fixture.call(ADELE, &adele.access).await, fixture.call(ALEX, &alex.access).await), (401, 200));
    fixture.is_sound().await;

    // No set at all: aloud in the list, "try again" for who signs in, nothing for who is signed in.
    for write in [
        |fixture: &Fixture, set: &str| fixture.vault.write_list(set),
        |fixture: &Fixture, set: &str| {
            fixture.vault.write(set, &[0xff; 1 << 20]);
        },
    ] {
        write(&fixture, &hers);
        assert_eq!(fixture.list(by_object_id).await.0, 503);
        let browser = Browser::new();
        let callback = fixture.client.callback(&fixture.gateway, &browser, ADELE).await;
        let back = browser.get(&callback).await;
        assert_eq!(back.status, 303, "{}", back.body);
        let back = Url::parse(&back.next()).unwrap();
        assert_eq!(query(&back, "error").as_deref(), Some("temporarily_unavailable"), "{back}");
        assert_eq!(query(&back, "code"), None);
        assert_eq!(fixture.call(ALEX, &alex.access).await, 200);
        fixture.is_sound().await;
    }
    vault.put_back(&kept);
    let adele = fixture.sign_in(ADELE).await;
    assert_eq!(fixture.call(ADELE, &adele.access).await, 200);
    fixture.is_sound().await;
}
