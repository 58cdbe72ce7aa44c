//! Two tiers: what is admitted without the store, and what never is.

use super::*;
use crate::session::token::AccessToken;
use crate::store::Switchable;

struct Two {
    store: Arc<Switchable>,
    /// Two replicas.
    here: Fixture,
    there: Fixture,
}

/// Both hear each other.
async fn two() -> Two {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store = Arc::new(Switchable::new(clock.clone()));
    let replica = || replica(ring(&[(1, "active")]), store.clone(), &clock);
    let two = Two { here: replica(), there: replica(), store: store.clone() };
    for replica in [&two.here, &two.there] {
        let (tokens, _) = renewable(replica, HOUR).await;
        assert_eq!(replica.tier(&tokens.access_token).await, Ok(Tier::Store));
        eventually(async || {
            replica.tier(&tokens.access_token).await.unwrap();
            replica.pass(1);
            replica.tier(&tokens.access_token).await == Ok(Tier::Cache)
        })
        .await;
    }
    two
}

/// Bounded: two seconds.
async fn eventually(condition: impl AsyncFn() -> bool) {
    for _ in 0..200 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within two seconds");
}

impl Fixture {
    /// Where the session was found, or the label of why not.
    async fn tier(&self, access_token: &str) -> Result<Tier, &'static str> {
        match self.sessions.admit(Some(&authorization(access_token)), HERE).await {
            Ok(admitted) => {
                assert_eq!(admitted.bearer(), "Bearer entra-token");
                assert!(admitted.bearer().is_sensitive());
                Ok(admitted.tier())
            }
            Err(Denied::Ended | Denied::Revoked) => Err("ended"),
            Err(Denied::Store(StoreError::Unavailable(_))) => Err("unavailable"),
            Err(Denied::Store(StoreError::Unreadable { .. })) => Err("unreadable"),
            Err(error) => panic!("{error}"),
        }
    }

    fn session_of(&self, access_token: &str) -> Index {
        let token = AccessToken::open(&self.sessions.sealer, HERE, access_token).unwrap();
        self.sessions.sealer.index(&token.id).unwrap()
    }
}

/// A token that our keys have sealed, with the right id and another secret: what whoever has the ring can make.
fn with_another_secret(fixture: &Fixture, access_token: &str) -> String {
    let token = AccessToken::open(&fixture.sessions.sealer, HERE, access_token).unwrap();
    let token = AccessToken { secret: SecretKey::random(), ..token };
    token.seal(&fixture.sessions.sealer, HERE)
}

#[tokio::test]
async fn the_store_is_asked_every_half_minute_and_not_in_between() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    let before = two.store.reads();
    for second in 0..90 {
        let tier = two.here.tier(&tokens.access_token).await;
        assert_eq!(tier, Ok(if second % 30 == 0 { Tier::Store } else { Tier::Cache }), "{second}");
        two.here.pass(1);
    }
    assert_eq!(two.store.reads() - before, 3);
}

#[tokio::test]
async fn the_right_id_with_another_secret_is_refused_on_a_warm_cache_and_harms_nobody() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    let forged = with_another_secret(&two.here, &tokens.access_token);
    assert_eq!(two.here.tier(&tokens.access_token).await, Ok(Tier::Store));
    assert_eq!(two.here.tier(&forged).await, Err("unreadable"));
    assert_eq!(two.here.tier(&tokens.access_token).await, Ok(Tier::Cache));
    two.store.switch(false);
    two.here.pass(30);
    assert_eq!(two.here.tier(&forged).await, Err("unavailable"), "what stands in knows the secret too");
    assert_eq!(two.here.tier(&tokens.access_token).await, Ok(Tier::Stale));
}

#[tokio::test]
async fn while_the_store_is_out_the_known_are_served_for_five_minutes_and_nobody_is_sent_away() {
    let two = two().await;
    let (known, _) = renewable(&two.here, HOUR).await;
    let (unknown, _) = renewable(&two.here, HOUR).await;
    assert_eq!(two.here.tier(&known.access_token).await, Ok(Tier::Store));
    two.store.switch(false);
    for second in 0..310 {
        let expected = match second {
            0..30 => Ok(Tier::Cache),
            30..300 => Ok(Tier::Stale),
            _ => Err("unavailable"),
        };
        assert_eq!(two.here.tier(&known.access_token).await, expected, "{second}");
        assert_eq!(two.here.tier(&unknown.access_token).await, Err("unavailable"));
        two.here.pass(1);
    }
    two.store.switch(true);
    for token in [&known.access_token, &unknown.access_token] {
        assert_eq!(two.here.tier(token).await, Ok(Tier::Store));
    }
}

#[tokio::test]
async fn nothing_stands_in_for_a_token_of_entras_that_is_over() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, 100).await;
    assert_eq!(two.here.tier(&tokens.access_token).await, Ok(Tier::Store));
    two.store.switch(false);
    two.here.pass(89);
    assert_eq!(two.here.tier(&tokens.access_token).await, Ok(Tier::Stale));
    two.here.pass(1);
    let denied = two.here.sessions.admit(Some(&authorization(&tokens.access_token)), HERE).await;
    assert!(matches!(denied, Err(Denied::Expired)));
}

#[tokio::test]
async fn an_end_counts_here_at_once_and_there_when_it_is_heard_whatever_the_store_does_then() {
    let two = two().await;
    let (tokens, refresh_token) = renewable(&two.here, HOUR).await;
    for replica in [&two.here, &two.there] {
        assert_eq!(replica.tier(&tokens.access_token).await, Ok(Tier::Store));
        assert_eq!(replica.tier(&tokens.access_token).await, Ok(Tier::Cache));
    }
    two.here.sessions.revoke(CLIENT, &refresh_token, [HERE].into_iter(), &Context::default()).await.unwrap();
    assert_eq!(two.here.tier(&tokens.access_token).await, Err("ended"));
    eventually(async || two.there.tier(&tokens.access_token).await == Err("ended")).await;
    two.store.switch(false);
    for _ in 0..299 {
        for replica in [&two.here, &two.there] {
            assert_eq!(replica.tier(&tokens.access_token).await, Err("ended"));
        }
        two.here.pass(1);
    }
    two.here.pass(1);
    assert_eq!(
        two.here.tier(&tokens.access_token).await,
        Err("unavailable"),
        "it is forgotten by then, and so is all else"
    );
}

#[tokio::test]
async fn an_end_that_the_store_did_not_learn_of_counts_here() {
    let two = two().await;
    let (tokens, refresh_token) = renewable(&two.here, HOUR).await;
    assert_eq!(two.here.tier(&tokens.access_token).await, Ok(Tier::Store));
    two.store.switch(false);
    assert!(two.here.sessions.revoke(CLIENT, &refresh_token, [HERE].into_iter(), &Context::default()).await.is_err());
    assert_eq!(two.here.tier(&tokens.access_token).await, Err("ended"));
    two.store.switch(true);
    assert_eq!(two.there.tier(&tokens.access_token).await, Ok(Tier::Store), "whoever was told 503 must come again");
}

#[tokio::test]
async fn a_replica_that_hears_nothing_asks_every_second() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    two.there.sessions.cache.deafen();
    assert_eq!(two.there.tier(&tokens.access_token).await, Ok(Tier::Store));
    assert_eq!(two.there.tier(&tokens.access_token).await, Ok(Tier::Cache));
    // As another replica does whose announcement is lost.
    two.here.sessions.table.remove(two.here.session_of(&tokens.access_token)).await.unwrap();
    two.here.pass(1);
    assert_eq!(two.there.tier(&tokens.access_token).await, Err("ended"));
    two.store.switch(false);
    assert_eq!(
        two.there.tier(&tokens.access_token).await,
        Err("unavailable"),
        "what the store has denied is forgotten"
    );
}

/// Found by `make chaos`: at a failover the old primary was asked, was silent, and the known were told to come again.
#[tokio::test]
async fn a_look_up_that_a_failover_left_without_an_answer_is_made_once_more() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    assert_eq!(two.there.tier(&tokens.access_token).await, Ok(Tier::Store));
    two.there.sessions.cache.deafen();
    two.here.pass(1);
    let (reads, release) = (two.store.reads(), two.store.hold_next_read());
    let fail_over = async {
        eventually(async || two.store.reads() > reads).await;
        two.there.sessions.cache.hear();
        drop(release);
    };
    let (tier, ()) = tokio::join!(two.there.tier(&tokens.access_token), fail_over);
    assert_eq!(tier, Ok(Tier::Store));
}

#[tokio::test]
async fn a_replica_that_misses_an_end_unawares_asks_after_half_a_minute() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    assert_eq!(two.there.tier(&tokens.access_token).await, Ok(Tier::Store));
    two.here.sessions.table.remove(two.here.session_of(&tokens.access_token)).await.unwrap();
    two.here.pass(29);
    assert_eq!(two.there.tier(&tokens.access_token).await, Ok(Tier::Cache));
    two.here.pass(1);
    assert_eq!(two.there.tier(&tokens.access_token).await, Err("ended"));
}

#[tokio::test]
async fn without_a_cache_every_request_asks() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store = Arc::new(Switchable::new(clock.clone()));
    let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
    let audit = Audit::to_log(sealer.clone(), clock.clone());
    let settings = Settings { cached: 0, ..Settings::default() };
    let sessions = Arc::new(Sessions::new(
        settings,
        store.clone(),
        sealer,
        clock.clone(),
        Arc::new(nobody()),
        Access::default(),
        audit,
    ));
    let fixture = Fixture { clock, sessions };
    let (tokens, _) = renewable(&fixture, HOUR).await;
    for reads in 1..5 {
        assert_eq!(fixture.tier(&tokens.access_token).await, Ok(Tier::Store));
        assert_eq!(store.reads(), reads);
    }
    store.switch(false);
    assert_eq!(fixture.tier(&tokens.access_token).await, Err("unavailable"));
}

#[tokio::test]
async fn a_renewal_that_fails_in_the_background_fails_no_request_and_is_not_tried_at_each() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    two.here.pass(HOUR - 300);
    for second in 0..250 {
        assert!(two.here.tier(&tokens.access_token).await.is_ok(), "{second}");
        two.here.pass(1);
        tokio::task::yield_now().await;
    }
    let token = AccessToken::open(&two.here.sessions.sealer, HERE, &tokens.access_token).unwrap();
    let record = two.here.sessions.table.get(&token.id, &token.secret).await.unwrap().unwrap();
    assert!(record.trouble.is_some(), "it was tried");
}

/// What announces its end to nobody: its record is gone, and that is all.
#[tokio::test]
async fn a_session_that_ended_unheard_is_over_when_the_store_is_asked_again() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    let session = two.here.session_of(&tokens.access_token);
    let admitted = two.here.sessions.admit(Some(&authorization(&tokens.access_token)), HERE).await.unwrap();
    let over = async |time| {
        let over = two.here.sessions.not_confirmed(&admitted, HERE, Duration::from_millis(5));
        tokio::time::timeout(Duration::from_millis(time), over).await.is_ok()
    };
    assert!(!over(50).await, "it is there");
    two.there.sessions.table.remove(session).await.unwrap();
    two.store.switch(false);
    two.here.pass(31);
    assert!(!over(50).await, "a store that is out knows nothing of it");
    two.store.switch(true);
    assert!(over(2000).await);
}

/// What is served from what was at hand, while the store is out, is served no longer than that is worth.
#[tokio::test]
async fn a_stream_that_was_opened_while_the_store_was_out_ends_five_minutes_after_it_answered_last() {
    let two = two().await;
    let (tokens, _) = renewable(&two.here, HOUR).await;
    assert_eq!(two.here.tier(&tokens.access_token).await, Ok(Tier::Store));
    two.store.switch(false);
    two.here.pass(299);
    let admitted = two.here.sessions.admit(Some(&authorization(&tokens.access_token)), HERE).await.unwrap();
    let over = async |time| {
        let over = two.here.sessions.not_confirmed(&admitted, HERE, Duration::from_millis(5));
        tokio::time::timeout(Duration::from_millis(time), over).await
    };
    assert!(over(50).await.is_err(), "it stands in for the store");
    two.here.pass(1);
    assert!(matches!(over(2000).await, Ok(Denied::Store(StoreError::Unavailable(_)))));
}

#[tokio::test]
async fn what_is_open_for_a_session_learns_of_its_end_from_here_and_from_there() {
    let two = two().await;
    for end_at in [&two.here, &two.there] {
        let (tokens, _) = renewable(&two.here, HOUR).await;
        let session = two.here.session_of(&tokens.access_token);
        let admitted = two.here.sessions.admit(Some(&authorization(&tokens.access_token)), HERE).await.unwrap();
        let over = two.here.sessions.over(&admitted, HERE);
        let end = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            end_at.sessions.end(session, Ending::SignedOut, &Context::default()).await.unwrap();
        };
        let both = tokio::time::timeout(Duration::from_secs(1), async { tokio::join!(over, end) });
        both.await.expect("a second at most");
    }
}
