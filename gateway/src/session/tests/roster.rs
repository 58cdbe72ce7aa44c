//! Whose sessions operators see, and what is left of those that they end.

use super::*;
use crate::sealed::KeyId;
use crate::session::roster::Member;
use crate::store::{Page, Switchable};

const ADELE: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const ALEX: &str = "aaaaaaaa-0000-4000-8000-000000000002";

struct Signed {
    begun: Begun,
    tokens: IssuedTokens,
}

struct Stage {
    store: Arc<Switchable>,
    fixture: Fixture,
}

fn stage() -> Stage {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store = Arc::new(Switchable::new(clock.clone()));
    Stage { fixture: replica(ring(&[(1, "active")]), store.clone(), &clock), store }
}

impl Stage {
    fn sessions(&self) -> &Arc<Sessions> {
        &self.fixture.sessions
    }

    async fn sign_in(&self, object_id: &str, client: u8) -> Signed {
        sign_in_at(&self.fixture, object_id, client).await.unwrap()
    }

    async fn admits(&self, signed: &Signed) -> bool {
        self.fixture.admits(&signed.tokens.access_token).await
    }

    async fn list(&self, selector: &Selector) -> Vec<Listed> {
        let list = self.sessions().roster().list(selector, 100).await.unwrap();
        assert!(!list.more && list.unknown == 0, "{list:?}");
        list.sessions
    }

    async fn revoke(&self, selector: &Selector) -> Revoked {
        self.sessions().revoke_selected(selector, "test", &Context::default()).await
    }

    /// Whom the sets name.
    async fn members(&self, selector: &Selector) -> Vec<Vec<u8>> {
        let page = Page { now: self.fixture.clock.now(), skip: 0, size: 9 };
        let mut members = Vec::new();
        for set in self.sessions().roster().sets(selector) {
            members.extend(self.store.enlisted(&set, page).await.unwrap());
        }
        members
    }

    fn index(&self, signed: &Signed) -> Index {
        self.sessions().index(&signed.begun).unwrap()
    }
}

async fn sign_in_at(fixture: &Fixture, object_id: &str, client: u8) -> Result<Signed, StoreError> {
    let login = if object_id == ADELE { "Adele@Contoso.example" } else { "alex@contoso.example" };
    let user = User {
        tenant_id: TENANT.to_owned(),
        object_id: object_id.to_owned(),
        name: Some("A\u{1b}[31m\u{202e} B".to_owned()),
        username: Some(login.to_owned()),
    };
    let sign_in = SignIn { user, refresh_token: Some(Secret::new("entra-refresh-token".into())), ..sign_in(3600) };
    let grant = Grant { client: [client; 32], resource: HERE.to_owned() };
    let begun = fixture.sessions.begin(&sign_in, "scope", &grant, "Client\nof\u{200b} theirs").await?;
    let tokens = fixture.sessions.issue(&begun, &grant);
    Ok(Signed { begun, tokens })
}

fn user(text: &str) -> Selector {
    Selector::user(text, &[TENANT.to_owned()]).unwrap()
}

#[tokio::test]
async fn a_listing_says_who_uses_what_through_whom_and_since_when() {
    let stage = stage();
    let signed = stage.sign_in(ADELE, 1).await;
    let sessions = stage.list(&Selector::All).await;
    let [listed] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!(listed.session, stage.index(&signed));
    assert!(listed.id().starts_with(&reference(listed.session)), "what logs call it is the start of it");
    let now = Timestamp::from_unix(1_000_000);
    let expected = Listing {
        key: KeyId::new(1),
        user: ListedUser {
            tenant_id: TENANT.to_owned(),
            object_id: ADELE.to_owned(),
            name: Some("A[31m B".to_owned()),
            login: Some("Adele@Contoso.example".to_owned()),
        },
        client: ListedClient { digest: [1; 32], name: "Client of theirs".to_owned() },
        resource: HERE.to_owned(),
        created: now,
        last_used: now,
        ends: now.after(Duration::from_secs(7 * 24 * 3600)),
    };
    assert_eq!(listed.listing.as_ref(), Some(&expected));
}

#[tokio::test]
async fn each_selector_means_its_own_and_nobody_elses() {
    for (selector, meant) in [
        (user(ADELE), [true, true, false]),
        (user(&ADELE.to_uppercase()), [true, true, false]),
        (user(&format!("{TENANT}/{ADELE}")), [true, true, false]),
        (user(&format!("{ALEX}/{ADELE}")), [false, false, false]),
        (user("adele@contoso.EXAMPLE"), [true, true, false]),
        (user("adele"), [false, false, false]),
        (Selector::client(&"02".repeat(32)).unwrap(), [false, true, true]),
        (Selector::client(&"02".repeat(8)).unwrap(), [false, true, true]),
        (Selector::client("some client").unwrap(), [false, false, false]),
        (Selector::All, [true, true, true]),
    ] {
        let stage = stage();
        let signed = [stage.sign_in(ADELE, 1).await, stage.sign_in(ADELE, 2).await, stage.sign_in(ALEX, 2).await];
        let count = meant.iter().filter(|meant| **meant).count();
        assert_eq!(stage.list(&selector).await.len(), count, "{selector:?}");
        let revoked = stage.revoke(&selector).await;
        assert!(revoked.is_complete());
        assert_eq!(revoked.ended, count, "{selector:?}");
        for (signed, meant) in signed.iter().zip(meant) {
            assert_eq!(stage.admits(signed).await, !meant, "{selector:?}");
            assert_eq!(stage.store.holds(&name("session", stage.index(signed))).await.unwrap(), !meant);
            assert_eq!(stage.store.holds(&name("generation", stage.index(signed))).await.unwrap(), !meant);
            assert_eq!(stage.store.holds(&name("listing", stage.index(signed))).await.unwrap(), !meant);
        }
        assert!(stage.list(&selector).await.is_empty());
        assert_eq!(stage.list(&Selector::All).await.len(), 3 - count);
        let again = stage.revoke(&selector).await;
        assert!(again.is_complete() && again.ended == 0, "again: {again:?}");
    }
}

#[tokio::test]
async fn a_session_is_named_by_the_start_of_its_id() {
    let stage = stage();
    let (one, other) = (stage.sign_in(ADELE, 1).await, stage.sign_in(ADELE, 1).await);
    let id = stage.index(&one).to_hex();
    for digits in [8, 16, 64] {
        assert_eq!(stage.list(&Selector::session(&id[..digits].to_uppercase()).unwrap()).await.len(), 1);
    }
    for bad in [&id[..7], "", "not hexadecimal", &format!("{id}0")] {
        assert_eq!(Selector::session(bad), Err(BadSelector::Session));
    }
    assert_eq!(stage.revoke(&Selector::session(&id[..8]).unwrap()).await.ended, 1);
    assert!(!stage.admits(&one).await && stage.admits(&other).await);
}

/// Made up by somebody who may write to the store.
#[tokio::test]
async fn ambiguous_digits_end_nothing_and_sessions_without_a_listing_are_counted() {
    let stage = stage();
    let real = stage.sign_in(ADELE, 1).await;
    let now = stage.fixture.clock.now();
    for last in [1, 2] {
        let mut session = stage.index(&real);
        session.0[31] ^= last;
        let set = stage.sessions().roster().sets(&Selector::session(&session.to_hex()).unwrap()).remove(0);
        stage.store.enlist(&set, &member(session), now.after(Duration::from_secs(60)), now).await.unwrap();
        stage.store.put(&name("session", session), b"forged", Duration::from_secs(60)).await.unwrap();
    }
    let ambiguous = Selector::session(&stage.index(&real).to_hex()[..16]).unwrap();
    let revoked = stage.revoke(&ambiguous).await;
    assert!(matches!(revoked.failure, Some(NotRevoked::Ambiguous(3))) && revoked.ended == 0, "{revoked:?}");
    assert!(stage.admits(&real).await);
    let list = stage.sessions().roster().list(&user("adele@contoso.example"), 9).await.unwrap();
    assert_eq!((list.sessions.len(), list.unknown), (1, 2));
    let revoked = stage.revoke(&user("adele@contoso.example")).await;
    assert_eq!((revoked.ended, revoked.unknown, revoked.is_complete()), (1, 2, false));
    let revoked = stage.revoke(&Selector::All).await;
    assert_eq!((revoked.ended, revoked.unknown, revoked.is_complete()), (2, 0, true));
}

/// Who may write to the store cannot make an operator who means one user end another's session, whose listing opens.
#[tokio::test]
async fn a_session_that_was_put_among_anothers_is_not_meant() {
    let stage = stage();
    let alex = stage.sign_in(ALEX, 1).await;
    let now = stage.fixture.clock.now();
    for set in stage.sessions().roster().sets(&user(ADELE)) {
        stage.store.enlist(&set, &member(stage.index(&alex)), now.after(Duration::from_secs(60)), now).await.unwrap();
        stage.store.enlist(&set, b"no index", now.after(Duration::from_secs(60)), now).await.unwrap();
    }
    let revoked = stage.revoke(&user(ADELE)).await;
    assert!(revoked.is_complete() && revoked.ended == 0 && stage.admits(&alex).await);
}

#[tokio::test]
async fn what_is_over_is_not_listed_and_a_list_is_bounded() {
    let stage = stage();
    for _ in 0..3 {
        stage.sign_in(ADELE, 1).await;
    }
    let list = stage.sessions().roster().list(&Selector::All, 2).await.unwrap();
    assert!(list.more && list.sessions.len() == 2);
    stage.fixture.pass(24 * HOUR);
    assert!(stage.list(&Selector::All).await.is_empty(), "idle for too long");
    let late = stage.sign_in(ADELE, 1).await;
    let revoked = stage.revoke(&user(ADELE)).await;
    assert_eq!((revoked.ended, stage.admits(&late).await), (1, false), "only what lived is counted");
}

/// A user's sets are named by each key in turn.
#[tokio::test]
async fn a_rotation_of_the_ring_hides_nobody() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let before = replica(ring(&[(1, "active")]), store.clone(), &clock);
    let after = replica(ring(&[(1, "open-only"), (2, "active")]), store.clone(), &clock);
    sign_in_at(&before, ADELE, 1).await.unwrap();
    sign_in_at(&after, ADELE, 1).await.unwrap();
    for selector in [user(ADELE), Selector::All] {
        assert_eq!(after.sessions.roster().list(&selector, 9).await.unwrap().sessions.len(), 2);
    }
    assert_eq!(after.sessions.revoke_selected(&user(ADELE), "test", &Context::default()).await.ended, 2);
}

#[tokio::test]
async fn a_revocation_that_breaks_off_says_so_and_is_finished_by_the_next() {
    let mut ended = 0;
    for answers in [0, 70, 150, 220] {
        let stage = stage();
        let mut signed = Vec::new();
        for _ in 0..20 {
            signed.push(stage.sign_in(ADELE, 1).await);
        }
        stage.store.switch_off_after(answers);
        let revoked = stage.revoke(&Selector::All).await;
        assert!(matches!(revoked.failure, Some(NotRevoked::Store(_))), "{answers}: {revoked:?}");
        assert!(!revoked.is_complete() && revoked.ended < 20);
        ended += revoked.ended;
        stage.store.switch(true);
        let rest = stage.revoke(&Selector::All).await;
        assert!(rest.is_complete(), "{rest:?}");
        for signed in &signed {
            assert!(!stage.admits(signed).await);
        }
        assert!(stage.list(&Selector::All).await.is_empty());
    }
    assert!(ended > 0, "some were ended before the store went away");
}

/// Whose key was revoked is over, wherever its record and its listing, sealed anew meanwhile, still lie.
#[tokio::test]
async fn a_session_whose_key_was_revoked_is_not_listed_and_one_whose_key_is_unknown_is_said_to_be_there() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let before = replica(ring(&[(1, "active")]), store.clone(), &clock);
    let noted = sign_in_at(&before, ADELE, 1).await.unwrap();
    sign_in_at(&before, ALEX, 1).await.unwrap();
    let rotated = replica(ring(&[(1, "open-only"), (2, "active")]), store.clone(), &clock);
    let late = sign_in_at(&rotated, ADELE, 1).await.unwrap();
    clock.advance(Duration::from_secs(60));
    assert!(rotated.admits(&noted.tokens.access_token).await, "its use is noted, under the new key");
    tokio::time::sleep(Duration::from_millis(20)).await;

    let revoked = replica(ring(&[(1, "revoked"), (2, "active")]), store.clone(), &clock);
    let list = revoked.sessions.roster().list(&Selector::All, 9).await.unwrap();
    assert_eq!((list.sessions.len(), list.unknown), (1, 0), "{list:?}");
    assert_eq!(list.sessions[0].session, revoked.sessions.index(&late.begun).unwrap());
    let report = revoked.sessions.revoke_selected(&user("alex@contoso.example"), "test", &Context::default()).await;
    assert!(report.is_complete() && report.ended == 0, "{report:?}");

    // An operator whose ring is older than the replicas' is told.
    let list = before.sessions.roster().list(&user("adele@contoso.example"), 9).await.unwrap();
    assert_eq!((list.sessions.len(), list.unknown), (0, 2), "{list:?}");
}

/// They have nothing of each other's but the store.
#[tokio::test]
async fn all_is_all_of_one_installation() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let here = replica(KeyRing::ephemeral(), store.clone(), &clock);
    let sealer = Sealer::new(KeyRing::ephemeral(), "https://other.example.com");
    let elsewhere = Roster::new(store, sealer, clock);
    let signed = sign_in_at(&here, ADELE, 1).await.unwrap();
    for selector in [Selector::All, user(ADELE)] {
        let list = elsewhere.list(&selector, 9).await.unwrap();
        assert!(list.sessions.is_empty() && list.unknown == 0, "{list:?}");
        assert_eq!(elsewhere.revoke(&selector, |_| {}).await.ended, 0);
    }
    assert!(here.admits(&signed.tokens.access_token).await);
}

/// There is no session that operators do not see, wherever a sign-in stops.
#[tokio::test]
async fn a_session_is_listed_before_it_is_there() {
    let stage = stage();
    for answers in 0..6 {
        stage.store.switch_off_after(answers);
        assert!(sign_in_at(&stage.fixture, ADELE, 1).await.is_err(), "{answers}");
        stage.store.switch(true);
        // The last question comes when the record is there.
        for selector in [Selector::All, user(ADELE)] {
            assert_eq!(stage.list(&selector).await.len(), usize::from(answers == 5), "{answers}");
        }
    }
    stage.store.switch_off_after(6);
    assert!(sign_in_at(&stage.fixture, ADELE, 1).await.is_ok(), "it has asked for everything");
}

/// Revoked between its listing and its record: it asks, and ends.
#[tokio::test]
async fn a_session_whose_listing_is_gone_when_it_has_begun_ends_at_once() {
    let stage = stage();
    stage.store.lose(Some("sallyport:listing:"));
    assert!(matches!(sign_in_at(&stage.fixture, ADELE, 1).await, Err(StoreError::Unavailable(_))));
    stage.store.lose(None);
    let left = stage.members(&Selector::All).await;
    let [member] = left.as_slice() else { panic!("{left:?}") };
    let session = Member::from_bytes(member).unwrap().session;
    assert!(!stage.store.holds(&name("session", session)).await.unwrap());
    assert!(!stage.store.holds(&name("generation", session)).await.unwrap());
    assert!(stage.list(&Selector::All).await.is_empty());
}

/// A revocation took the listing, and failed before it had removed what the sign-in wrote meanwhile. To do it again helps.
#[tokio::test]
async fn a_session_of_a_users_own_that_has_lost_its_listing_is_the_users() {
    let stage = stage();
    let left = stage.sign_in(ADELE, 1).await;
    stage.store.remove(&name("listing", stage.index(&left))).await.unwrap();
    let [seen] = &stage.list(&user(ADELE)).await[..] else { panic!("it is seen") };
    assert_eq!((seen.session, &seen.listing), (stage.index(&left), &None));
    let revoked = stage.revoke(&user(ADELE)).await;
    assert!(revoked.is_complete() && revoked.ended == 1, "{revoked:?}");
    assert!(!stage.admits(&left).await);
    assert!(!stage.store.holds(&name("session", stage.index(&left))).await.unwrap());
    for selector in [user(ADELE), Selector::All] {
        assert!(stage.members(&selector).await.is_empty(), "its name is gone too");
    }
}

/// Who signs in under a key that the operator's ring does not know is in sets that it cannot name.
#[tokio::test]
async fn an_operator_whose_ring_is_older_is_told_of_a_users_sessions_too() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let operator = replica(ring(&[(1, "active")]), store.clone(), &clock);
    let rotated = replica(ring(&[(1, "open-only"), (2, "active")]), store.clone(), &clock);
    let signed = sign_in_at(&rotated, ADELE, 1).await.unwrap();
    let list = operator.sessions.roster().list(&user(ADELE), 9).await.unwrap();
    assert_eq!((list.sessions.len(), list.unknown), (0, 1), "{list:?}");
    let revoked = operator.sessions.revoke_selected(&user(ADELE), "test", &Context::default()).await;
    assert_eq!((revoked.ended, revoked.unknown, revoked.is_complete()), (0, 1, false), "{revoked:?}");
    assert!(rotated.admits(&signed.tokens.access_token).await);
    let revoked = rotated.sessions.revoke_selected(&user(ADELE), "test", &Context::default()).await;
    assert_eq!((revoked.ended, revoked.is_complete()), (1, true), "{revoked:?}");
}

/// A replica that has the ring of before would serve it on.
#[tokio::test]
async fn a_session_whose_key_was_revoked_is_ended_with_all() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let before = replica(ring(&[(1, "active")]), store.clone(), &clock);
    let signed = sign_in_at(&before, ADELE, 1).await.unwrap();
    let operator = replica(ring(&[(1, "revoked"), (2, "active")]), store.clone(), &clock);
    assert!(operator.sessions.revoke_selected(&Selector::All, "test", &Context::default()).await.is_complete());
    clock.advance(Duration::from_secs(31));
    assert!(!before.admits(&signed.tokens.access_token).await);
}

/// It is between its listing and its record, and this operator cannot read the listing.
#[tokio::test]
async fn who_is_about_to_begin_with_a_listing_that_does_not_open_does_not_begin() {
    let stage = stage();
    let signed = stage.sign_in(ADELE, 1).await;
    let session = stage.index(&signed);
    stage.store.put(&name("listing", session), b"of another ring", Duration::from_secs(60)).await.unwrap();
    stage.store.remove(&name("session", session)).await.unwrap();
    assert!(stage.revoke(&Selector::All).await.is_complete());
    assert!(!stage.sessions().roster().has(session).await.unwrap());
}

/// What announced its end was not heard here, and there is nothing left to remove.
#[tokio::test]
async fn a_session_that_is_over_and_still_at_hand_is_served_no_more_where_it_is_ended_again() {
    let stage = stage();
    let signed = stage.sign_in(ADELE, 1).await;
    assert!(stage.admits(&signed).await);
    for kind in ["session", "listing", "generation"] {
        stage.store.remove(&name(kind, stage.index(&signed))).await.unwrap();
    }
    assert!(stage.admits(&signed).await, "it is at hand");
    assert!(stage.revoke(&user(ADELE)).await.is_complete());
    assert!(!stage.admits(&signed).await);
}

/// It is in the sets and nowhere else yet. Struck out, it would live where no operator sees it.
#[tokio::test]
async fn who_is_about_to_begin_while_all_are_ended_stays_in_the_sets() {
    let stage = stage();
    stage.sign_in(ADELE, 1).await;
    let beginning = member(Index([0; 32]));
    let now = stage.fixture.clock.now();
    for selector in [Selector::All, user(ADELE)] {
        // The first of all sets is that of the indexes that begin with 00.
        let set = &stage.sessions().roster().sets(&selector)[0];
        stage.store.enlist(set, &beginning, now.after(Duration::from_secs(60)), now).await.unwrap();
        let revoked = stage.revoke(&selector).await;
        assert!(revoked.is_complete(), "{revoked:?}");
        assert_eq!(stage.members(&selector).await, [beginning.to_vec()]);
    }
}

#[tokio::test]
async fn a_session_that_is_ended_while_it_begins_is_no_longer_listed() {
    let stage = stage();
    let roster = stage.sessions().roster();
    let signed = stage.sign_in(ADELE, 1).await;
    let session = stage.index(&signed);
    let listing = stage.list(&Selector::All).await.remove(0).listing.unwrap();
    stage.store.remove(&name("session", session)).await.unwrap();
    assert!(roster.has(session).await.unwrap());
    // What ends it finds no record yet.
    let revoked = stage.revoke(&user(ADELE)).await;
    assert!(revoked.is_complete() && revoked.ended == 0);
    assert!(!roster.has(session).await.unwrap());
    // Nor does a late note of its use bring the listing back.
    roster.note(session, &listing).await.unwrap();
    assert!(!roster.has(session).await.unwrap());
}

#[tokio::test]
async fn the_last_use_is_noted_when_the_store_is_asked_and_once_a_minute() {
    let stage = stage();
    let signed = stage.sign_in(ADELE, 1).await;
    let last_used = async || stage.list(&Selector::All).await[0].listing.as_ref().unwrap().last_used.unix() - 1_000_000;
    assert!(stage.admits(&signed).await);
    stage.fixture.pass(59);
    assert!(stage.admits(&signed).await);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(last_used().await, 0, "when it began is known");
    let calls = stage.store.calls();
    stage.fixture.pass(31);
    for _ in 0..10 {
        assert!(stage.admits(&signed).await);
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        stage.store.calls() - calls,
        2,
        "the record is read and the listing written, whatever the number of calls"
    );
    assert_eq!(last_used().await, 90);
    stage.store.switch(false);
    stage.fixture.pass(60);
    assert!(stage.admits(&signed).await, "it stands in for the store");
    stage.store.switch(true);
    assert_eq!(last_used().await, 90);
}

/// Who has the key ring and a dump of the store reads listings: names, and nothing that a token is made of.
#[tokio::test]
async fn a_listing_holds_nothing_that_opens_its_session() {
    let stage = stage();
    let signed = stage.sign_in(ADELE, 1).await;
    let listing = stage.list(&Selector::All).await.remove(0).listing.unwrap();
    let plain = postcard::to_stdvec(&listing).unwrap();
    let holds = |part: &[u8]| plain.windows(part.len()).any(|window| window == part);
    assert!(holds(b"Adele@Contoso.example"), "what is in it would be found");
    let handle = &signed.begun.handle;
    let id = postcard::to_stdvec(&handle.id).unwrap();
    for part in [&handle.secret.expose()[..], &id[id.len() - 32..], b"entra-token", b"entra-refresh-token"] {
        assert!(!holds(part));
    }
}

fn member(session: Index) -> [u8; 36] {
    Member { session, key: KeyId::new(1) }.to_bytes()
}

fn name(kind: &str, session: Index) -> String {
    format!("sallyport:{kind}:{}", session.to_text())
}

/// Object ids are a tenant's own: elsewhere the same one may be anybody (GU-15).
#[tokio::test]
async fn one_object_id_in_two_tenants_is_two_users() {
    const OTHER: &str = "aaaaaaaa-0c3d-4b8e-9f59-5a3f1a2b3c4d";
    let stage = stage();
    let grant = Grant { client: [1; 32], resource: HERE.to_owned() };
    let of = |tenant: &str| User { tenant_id: tenant.to_owned(), ..sign_in(3600).user };
    for tenant in [TENANT, OTHER] {
        let sign_in = SignIn { user: User { object_id: ADELE.to_owned(), ..of(tenant) }, ..sign_in(3600) };
        stage.sessions().begin(&sign_in, "scope", &grant, "Test client").await.unwrap();
    }
    for tenant in [TENANT, OTHER] {
        let [listed] = &stage.list(&user(&format!("{tenant}/{ADELE}"))).await[..] else { panic!("{tenant}") };
        assert_eq!(listed.listing.as_ref().unwrap().user.tenant_id, tenant);
    }
    let both = Selector::user(ADELE, &[TENANT.to_owned(), OTHER.to_owned()]).unwrap();
    assert_eq!((stage.list(&both).await.len(), stage.list(&user(ADELE)).await.len()), (2, 1));
    // What an upstream wants of the one is not asked of the other.
    let [own] = &stage.list(&user(ADELE)).await[..] else { panic!("one of ours") };
    let claims = entra::ClaimsRequest::parse(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#).unwrap();
    stage.sessions().remember_step_up(own.listing.as_ref().unwrap(), &claims).await.unwrap();
    for (tenant, waits) in [(TENANT, true), (OTHER, false)] {
        let user = User { object_id: ADELE.to_owned(), ..of(tenant) };
        assert_eq!(stage.sessions().step_up(&grant, &user).await.unwrap().is_some(), waits, "{tenant}");
    }
    assert_eq!(stage.revoke(&user(&format!("{OTHER}/{ADELE}"))).await.ended, 1);
    assert_eq!(stage.list(&both).await.len(), 1);
}
