//! A session at rest.

use std::time::Duration;

use entra::{AccessToken, Renewed, Secret};
use serde::{Deserialize, Serialize};

use super::roster::Listing;
use super::step_up;
use crate::access::Membership;
use crate::clock::Timestamp;
use crate::secret::wipe;

#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub entra: EntraTokens,
    /// What Entra was asked for.
    pub scope: String,
    /// What operators see of it, as it was when it began; its end is the latest one, which nothing moves.
    pub listing: Listing,
    /// The end unless there is another refresh.
    pub kept_until: Timestamp,
    /// Since the last renewal.
    pub trouble: Option<Trouble>,
    /// By the upstream, with claims; the last time that something was done about it.
    pub challenged: Option<Challenged>,
    /// Of the user, as Entra said last.
    pub membership: Membership,
}

/// Of its records in the store.
pub(super) const KIND: &str = "session";

/// What Entra gave last.
#[derive(Serialize, Deserialize)]
pub(super) struct EntraTokens {
    pub access_token: String,
    pub obtained: Timestamp,
    /// A little before Entra says, so that a token of ours never outlives the one it stands for.
    pub ends: Timestamp,
    pub renew_from: Timestamp,
    pub refresh_token: Option<String>,
}

/// Renewals that failed for reasons that pass. It travels with the session, so that replicas share it: a session alone
/// must not become a loop of calls, which Entra would answer by refusing it altogether (GU-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trouble {
    since: Timestamp,
    failures: u8,
    not_before: Timestamp,
}

/// What became of a claims challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Challenged {
    at: Timestamp,
    /// The user must sign in again.
    waits: bool,
}

impl Record {
    /// Lets the session live on, and says for how long from now.
    pub fn keep(&mut self, now: Timestamp, idle: Duration) -> Duration {
        self.kept_until = self.goes_on_until(now, idle);
        self.kept_until.remaining(now)
    }

    /// When it ends that is refreshed now and then no more.
    pub fn goes_on_until(&self, now: Timestamp, idle: Duration) -> Timestamp {
        now.after(idle).min(self.listing.ends)
    }

    /// Whether a refresh now moves the end by enough to be worth writing. Idle time counts to the minute.
    pub fn should_be_kept(&self, now: Timestamp, idle: Duration) -> bool {
        self.kept_until.after(PRECISION) < self.goes_on_until(now, idle)
    }

    /// When an access token of ours must end.
    pub fn expires(&self) -> Timestamp {
        self.entra.ends.min(self.kept_until)
    }

    /// Whether Entra should be asked for new tokens.
    pub fn should_be_renewed(&self, now: Timestamp) -> bool {
        self.entra.refresh_token.is_some() && self.entra.renew_from.has_passed(now)
    }

    /// Whether a token that its server refuses should be renewed before its time. One that is new is not: what refuses it
    /// would refuse the next one too, and a broken server must not become a flood at Entra (B11).
    pub fn may_be_renewed_early(&self, now: Timestamp) -> bool {
        self.entra.refresh_token.is_some() && self.entra.obtained.after(NEW).has_passed(now)
    }

    /// Whether Entra may be asked for a token that answers a claims challenge. The token may be as new as it likes, since the
    /// challenge says what it lacks; but a server that is never content must not become a flood either.
    pub fn may_answer_a_challenge(&self, now: Timestamp) -> bool {
        let answered = self.challenged.is_some_and(|challenged| !challenged.at.after(NEW).has_passed(now));
        self.entra.refresh_token.is_some() && !answered
    }

    /// Whether a challenge waits for the user to sign in again.
    pub fn waits_for_step_up(&self, now: Timestamp) -> bool {
        self.challenged.is_some_and(|it| it.waits && !it.at.after(step_up::LIFETIME).has_passed(now))
    }

    /// From when on Entra should be asked; `None` when it gave nothing to ask with.
    pub fn renews_from(&self) -> Option<Timestamp> {
        let pause = self.trouble.map(|trouble| trouble.not_before);
        self.entra
            .refresh_token
            .as_ref()
            .map(|_| pause.map_or(self.entra.renew_from, |end| end.max(self.entra.renew_from)))
    }

    /// How long Entra is to be left alone after trouble.
    pub fn pause(&self, now: Timestamp) -> Option<Duration> {
        self.trouble.map(|trouble| trouble.not_before.remaining(now)).filter(|pause| !pause.is_zero())
    }
}

impl EntraTokens {
    /// `now` is a moment before Entra answered: from then its lifetime is counted. `chance`, from 0 to 1, spreads the renewal of
    /// tokens that were given together.
    pub fn new(access_token: &AccessToken, refresh_token: Option<&Secret>, now: Timestamp, chance: f64) -> Self {
        let lifetime = access_token.expires_in;
        // What lives very short must not seem to be over before it is renewed. Our seconds are whole and `now` is their beginning,
        // which is margin enough for what lives for less than ten of them.
        let margin = Duration::from_secs(MARGIN.min(lifetime / 10).as_secs());
        Self {
            access_token: access_token.token.expose().to_owned(),
            obtained: now,
            ends: now.after(lifetime.saturating_sub(margin)),
            renew_from: now.after(lifetime.mul_f64(RENEWED_AFTER + RENEWED_WITHIN * chance)),
            refresh_token: refresh_token.map(|token| token.expose().to_owned()),
        }
    }

    /// The newest of each: Entra may leave the refresh token out, and then the one before goes on.
    pub fn renewed(&self, renewed: &Renewed, now: Timestamp, chance: f64) -> Self {
        let kept = self.refresh_token.clone().map(Secret::new);
        Self::new(&renewed.access_token, renewed.refresh_token.as_ref().or(kept.as_ref()), now, chance)
    }
}

impl Drop for EntraTokens {
    fn drop(&mut self) {
        wipe(&mut self.access_token);
        if let Some(token) = &mut self.refresh_token {
            wipe(token);
        }
    }
}

impl Challenged {
    /// By Entra, as far as it could be.
    pub fn answered(now: Timestamp) -> Self {
        Self { at: now, waits: false }
    }

    /// It is for the user to answer.
    pub fn waits(now: Timestamp) -> Self {
        Self { at: now, waits: true }
    }
}

impl Trouble {
    /// One more failure. Three within five minutes are the end of trying until those are over.
    pub fn after(before: Option<Self>, now: Timestamp, retry_after: Option<Duration>) -> Self {
        let (since, failures) = match before {
            Some(before) if !before.since.after(WINDOW).has_passed(now) => {
                (before.since, before.failures.saturating_add(1))
            }
            _ => (now, 1),
        };
        let pause = if failures < FAILURES_AT_MOST { PAUSE } else { since.after(WINDOW).remaining(now) };
        let asked = retry_after.unwrap_or_default().min(LONGEST_PAUSE);
        Self { since, failures, not_before: now.after(pause.max(asked)) }
    }
}

/// Between an end that Entra says and the end that we believe, at most.
const MARGIN: Duration = Duration::from_secs(30);
/// From which part of its life on a token is renewed, as it is used: an outage of Entra's that is over before the rest is
/// noticed by nobody. Earlier than GU-7 asks for.
const RENEWED_AFTER: f64 = 0.75;
const RENEWED_WITHIN: f64 = 0.1;
const PRECISION: Duration = Duration::from_secs(60);
/// How long a token of Entra's counts as new.
const NEW: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(300);
const FAILURES_AT_MOST: u8 = 3;
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    fn tokens(seconds: u64, chance: f64) -> EntraTokens {
        let token = Secret::new("t".into());
        let access_token = AccessToken { token, expires_in: Duration::from_secs(seconds), scope: String::new() };
        EntraTokens::new(&access_token, None, NOW, chance)
    }

    #[test]
    fn tokens_are_renewed_when_three_quarters_of_their_life_are_over_and_not_all_together() {
        for (lifetime, first, last) in [(3600, 2700, 3060), (86_400, 64_800, 73_440), (300, 225, 255), (0, 0, 0)] {
            for (chance, renew_after) in [(0.0, first), (0.5, (first + last) / 2), (1.0, last)] {
                let tokens = tokens(lifetime, chance);
                assert_eq!(tokens.renew_from.unix() - NOW.unix(), renew_after, "{lifetime} {chance}");
                assert_eq!(tokens.ends.unix() - NOW.unix(), lifetime.saturating_sub(30), "{lifetime}");
            }
        }
    }

    #[test]
    fn tokens_that_live_for_a_minute_are_renewed_before_they_seem_to_be_over() {
        for lifetime in [2, 3, 9, 20, 60, 120, 299] {
            let tokens = tokens(lifetime, 1.0);
            assert!(tokens.renew_from < tokens.ends, "{lifetime}");
        }
    }

    #[test]
    fn a_renewal_without_a_refresh_token_keeps_the_one_before() {
        let mut before = tokens(60, 0.5);
        before.refresh_token = Some("before".into());
        let access_token = AccessToken {
            token: Secret::new("new".into()),
            expires_in: Duration::from_secs(3600),
            scope: String::new(),
        };
        let without = Renewed { access_token, refresh_token: None, memberships: None };
        assert_eq!(before.renewed(&without, NOW, 0.5).refresh_token.as_deref(), Some("before"));
        let with = Renewed { refresh_token: Some(Secret::new("after".into())), ..without };
        let after = before.renewed(&with, NOW, 0.5);
        assert_eq!((after.access_token.as_str(), after.refresh_token.as_deref()), ("new", Some("after")));
    }

    #[test]
    fn a_session_asks_at_most_three_times_in_five_minutes() {
        let (mut trouble, mut now, mut asked) = (None, NOW, Vec::new());
        while now < NOW.after(Duration::from_secs(900)) {
            if trouble.is_none_or(|trouble: Trouble| trouble.not_before.has_passed(now)) {
                asked.push(now.unix() - NOW.unix());
                trouble = Some(Trouble::after(trouble, now, None));
            }
            now = now.after(Duration::from_secs(1));
        }
        assert_eq!(asked, [0, 5, 10, 300, 305, 310, 600, 605, 610]);
    }

    #[test]
    fn entras_own_word_on_when_to_come_again_counts() {
        let pause = |retry_after| {
            let trouble = Trouble::after(None, NOW, Some(Duration::from_secs(retry_after)));
            trouble.not_before.unix() - NOW.unix()
        };
        assert_eq!((pause(0), pause(60), pause(999_999)), (5, 60, 3600));
    }
}
