//! Codes and refresh tokens against a model of them: whatever clients do, in whatever order and time, whoever presents what
//! belongs to another, and whatever becomes of the store's answers.
//!
//! The model of a session is the set of all worlds that the answers so far allow: a store that went silent may or may not
//! have done what it was asked. An answer that no world explains is a fault.

mod world;

use proptest::prelude::*;
use serde_json::Value;
use world::{Answer, Step, World};

use super::support::*;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn no_order_of_events_gives_an_answer_that_the_model_does_not(stories in proptest::collection::vec(story(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&stories.concat()))?;
    }
}

/// How many sequences; more of them by `SALLYPORT_MODEL_CASES`.
fn cases() -> u32 {
    std::env::var("SALLYPORT_MODEL_CASES").map_or(100, |cases| cases.parse().expect("a number of cases"))
}

/// One thing that happens.
#[derive(Clone, Debug)]
struct Deed {
    session: usize,
    kind: Kind,
    /// By the client that it belongs to, or by another.
    by_owner: bool,
    fault: Option<Fault>,
}

#[derive(Clone, Debug)]
enum Kind {
    Redeem {
        right_verifier: bool,
    },
    /// With one of the refresh tokens that there are, counted from the newest.
    Refresh {
        back: usize,
    },
    SignOut,
    Call,
    Pass {
        seconds: u64,
    },
}

/// What becomes of the store while the deed is done.
#[derive(Clone, Copy, Debug)]
struct Fault {
    answers: usize,
    /// What it is asked next is done, and nobody hears of it.
    lost: bool,
    /// It answers nothing after that.
    off: bool,
}

/// Mostly one deed; sometimes what chance alone would seldom put in a row.
fn story() -> impl Strategy<Value = Vec<Deed>> {
    let by_owner = |session, kind| Deed { session, kind, by_owner: true, fault: None };
    let pass = move |seconds| by_owner(0, Kind::Pass { seconds });
    let repeated = (0..2_usize, 44..47_u64).prop_map(move |(session, seconds)| {
        vec![
            by_owner(session, Kind::Refresh { back: 0 }),
            pass(seconds),
            by_owner(session, Kind::Refresh { back: 1 }),
            by_owner(session, Kind::Call),
        ]
    });
    let unheard = (0..2_usize, 29..32_u64, any::<bool>()).prop_map(move |(session, seconds, right_verifier)| {
        // The store falls silent between the claim and its settlement.
        let fault = Some(Fault { answers: 1, lost: false, off: true });
        vec![
            Deed { fault, ..by_owner(session, Kind::Redeem { right_verifier: true }) },
            pass(seconds),
            by_owner(session, Kind::Redeem { right_verifier }),
            by_owner(session, Kind::Call),
        ]
    });
    prop_oneof![8 => deed().prop_map(|deed| vec![deed]), 1 => repeated, 1 => unheard]
}

fn deed() -> impl Strategy<Value = Deed> {
    let kind = prop_oneof![
        4 => prop::bool::weighted(0.8).prop_map(|right_verifier| Kind::Redeem { right_verifier }),
        6 => prop_oneof![4 => Just(0), 2 => Just(1), 1 => 2..4_usize].prop_map(|back| Kind::Refresh { back }),
        1 => Just(Kind::SignOut),
        3 => Just(Kind::Call),
        // The lives and graces of the model, and what lies right before and after them.
        4 => prop::sample::select(vec![1, 15, 29, 30, 31, 44, 45, 46, 59, 60, 61]).prop_map(|seconds| Kind::Pass { seconds }),
        1 => Just(Kind::Pass { seconds: 600 }),
    ];
    let fault = (0..7_usize, any::<bool>(), any::<bool>())
        .prop_filter("something must be amiss", |(_, lost, off)| *lost || *off)
        .prop_map(|(answers, lost, off)| Fault { answers, lost, off });
    let fault = prop_oneof![3 => Just(None), 1 => fault.prop_map(Some)];
    (0..2_usize, kind, prop::bool::weighted(0.9), fault).prop_map(|(session, kind, by_owner, fault)| Deed {
        session,
        kind,
        by_owner,
        fault,
    })
}

/// A session as its client sees it, and the worlds in which it can be.
struct Played {
    code: String,
    /// By their generation.
    refresh_tokens: Vec<String>,
    newest: Value,
    worlds: Vec<World>,
}

async fn play(deeds: &[Deed]) -> Result<(), TestCaseError> {
    let fixture = with_entra().await;
    let owner = fixture.register("Owner", REDIRECT_URI).await;
    let other = fixture.register("Other", REDIRECT_URI).await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let code = fixture.sign_in(&mut Browser::default(), &owner).await;
        sessions.push(Played { code, refresh_tokens: Vec::new(), newest: Value::Null, worlds: vec![World::new()] });
    }
    // From here on nothing but the store is asked, and its waits cost no time.
    tokio::time::pause();
    let mut now = 0;
    for deed in deeds {
        if let Kind::Pass { seconds } = deed.kind {
            // Entra's own tokens do not come near their end.
            if now + seconds <= 3000 {
                now += seconds;
                fixture.pass(seconds);
            }
            continue;
        }
        let session = &mut sessions[deed.session];
        let client = if deed.by_owner { &owner } else { &other };
        if let Some(Fault { answers, lost, off }) = deed.fault {
            if off {
                fixture.store.switch_off_after(answers);
            }
            if lost {
                fixture.store.lose_answer_after(answers);
            }
        }
        let done = session.act(&fixture, client, deed).await?;
        fixture.store.switch(true);
        let Some((step, answer)) = done else { continue };
        let worlds = session.worlds.iter().flat_map(|world| world.after(step, now, deed.fault.is_some()));
        let explained: Vec<_> = worlds.filter(|(expected, _)| *expected == answer).map(|(_, world)| world).collect();
        prop_assert!(!explained.is_empty(), "{deed:?} at {now} s: {answer:?}; but {:?}", session.worlds);
        session.worlds = explained;
        session.worlds.sort();
        session.worlds.dedup();
    }
    Ok(())
}

impl Played {
    /// What was done and answered; `None` for what nobody can do.
    async fn act(
        &mut self,
        fixture: &Fixture,
        client: &Client,
        deed: &Deed,
    ) -> Result<Option<(Step, Answer)>, TestCaseError> {
        let by_owner = deed.by_owner;
        Ok(match deed.kind {
            Kind::Redeem { right_verifier } => {
                let wrong = "x".repeat(43);
                let changed = [("code_verifier", wrong.as_str())];
                let changed = if right_verifier { &[][..] } else { &changed };
                let response = fixture.redeem_with(client, &self.code, changed).await;
                let answer = self.read(response.status().as_u16(), json(&response))?;
                Some((Step::Redeem { proven: by_owner.then_some(right_verifier) }, answer))
            }
            Kind::Refresh { back } => {
                let Some(generation) = self.refresh_tokens.len().checked_sub(back + 1) else { return Ok(None) };
                let response = fixture.refresh(client, &self.refresh_tokens[generation]).await;
                let answer = self.read(response.status().as_u16(), json(&response))?;
                Some((Step::Refresh { generation: generation as u32, by_owner }, answer))
            }
            Kind::SignOut => {
                let Some(token) = self.refresh_tokens.first() else { return Ok(None) };
                let pairs = [("client_id", client.id.as_str()), ("token", token)];
                let answer = match fixture.post_form("/revoke", &pairs).await.status().as_u16() {
                    200 => Answer::Done,
                    503 => Answer::Later,
                    status => return Err(TestCaseError::fail(format!("signing out was answered {status}"))),
                };
                Some((Step::SignOut { by_owner }, answer))
            }
            Kind::Call if deed.fault.is_none() && !self.newest.is_null() => {
                let admitted = fixture.admits(&self.newest).await;
                Some((Step::Call, if admitted { Answer::Done } else { Answer::Refused }))
            }
            Kind::Call | Kind::Pass { .. } => None,
        })
    }

    fn read(&mut self, status: u16, body: Value) -> Result<Answer, TestCaseError> {
        match (status, body["error"].as_str()) {
            (200, None) => {
                let token = body["refresh_token"].as_str().expect("every session here has refresh tokens").to_owned();
                let known = self.refresh_tokens.iter().position(|known| *known == token);
                let generation = known.unwrap_or(self.refresh_tokens.len());
                if known.is_none() {
                    self.refresh_tokens.push(token);
                }
                self.newest = body;
                Ok(Answer::Tokens(generation as u32))
            }
            (400, Some("invalid_grant")) => Ok(Answer::Refused),
            (503, Some("temporarily_unavailable")) => Ok(Answer::Later),
            _ => Err(TestCaseError::fail(format!("{status} {body}"))),
        }
    }
}

/// The model itself, where it is hard to read off.
#[test]
fn the_model_knows_what_must_never_be() {
    let fresh = World::new();
    let redeem = Step::Redeem { proven: Some(true) };
    let [(Answer::Tokens(0), redeemed)] = fresh.after(redeem, 5, false)[..] else { panic!("a code is good once") };
    let [(Answer::Refused, ended)] = redeemed.after(redeem, 6, false)[..] else { panic!("and only once") };
    assert_eq!(
        ended.after(Step::Call, 7, false).iter().map(|(answer, _)| *answer).collect::<Vec<_>>(),
        [Answer::Refused]
    );
    assert_eq!(fresh.after(redeem, 60, false)[0].0, Answer::Refused, "and for a minute");
}
