//! Reading the token endpoint's answers: leniently in form, strictly in what is concluded (entra.md 5.6, 5.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;

use super::AccessToken;
use crate::aadsts::{Code, LOOP, RELOAD, TOO_MANY, UNKNOWN_CLIENT};
use crate::http::{Answer, guid};
use crate::{ClaimsRequest, Error, Refusal, Secret};

/// A good answer.
pub(crate) struct Success {
    pub access_token: AccessToken,
    pub id_token: Option<Secret>,
    pub refresh_token: Option<Secret>,
}

/// No token. The error says what to do about it; the rest is for the few who must know more.
pub(crate) struct Failure {
    pub error: Error,
    /// AADSTS numbers.
    codes: Vec<u32>,
    /// It is us whom Entra does not believe, whatever was asked for.
    pub of_the_client: bool,
}

impl Failure {
    /// Whether the proof was refused for something that reading it anew may mend.
    pub fn wants_new_proof(&self) -> bool {
        matches!(self.error, Error::SetUp(_)) && self.codes.iter().any(|code| RELOAD.contains(code))
    }

    pub fn code(&self) -> Code {
        Code::first_of(&self.codes)
    }
}

/// Not of Entra's making, as far as it says.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, codes: Vec::new(), of_the_client: false }
    }
}

/// Reads a 200. What does not hold a bearer token and its lifetime is Entra's trouble, so [`Error::TryLater`].
pub(crate) fn success(answer: &Answer) -> Result<Success, Error> {
    #[derive(Deserialize)]
    struct Body {
        access_token: Option<String>,
        token_type: Option<String>,
        expires_in: Option<Value>,
        scope: Option<String>,
        id_token: Option<String>,
        refresh_token: Option<String>,
    }
    let unusable = |what: &str| Error::TryLater { retry_after: None, cause: format!("token answer {what}") };
    // The parser's error is dropped: it may quote the text around the mistake.
    let body: Body = serde_json::from_slice(&answer.body).map_err(|_| unusable("is not the JSON it should be"))?;
    let token = body.access_token.filter(|token| !token.is_empty()).map(Secret::new);
    let id_token = body.id_token.map(Secret::new);
    let refresh_token = body.refresh_token.filter(|token| !token.is_empty()).map(Secret::new);
    if !body.token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("Bearer")) {
        return Err(unusable("is not of type Bearer"));
    }
    let access_token = AccessToken {
        token: token.ok_or_else(|| unusable("without access_token"))?,
        expires_in: body.expires_in.as_ref().and_then(seconds).ok_or_else(|| unusable("without expires_in"))?,
        scope: body.scope.unwrap_or_default(),
    };
    Ok(Success { access_token, id_token, refresh_token })
}

/// Reads anything but a 200.
pub(crate) fn failure(answer: &Answer) -> Failure {
    let later = |cause| Error::TryLater { retry_after: answer.retry_after, cause };
    let Some(refusal) = refusal(&answer.body) else {
        return later(format!("status {} without an OAuth error", answer.status.as_u16())).into();
    };
    let codes = refusal.codes.clone();
    if answer.status == 429 || !answer.status.is_client_error() {
        // An OAuth error comes with a status of the 400s; anything else is a proxy's or a portal's word, not Entra's.
        let error = later(format!("status {}: {refusal}", answer.status.as_u16()));
        return Failure { error, codes, of_the_client: false };
    }
    let of_the_client = refusal.error == "invalid_client" || codes.contains(&UNKNOWN_CLIENT);
    Failure { error: sorted(refusal, later), codes, of_the_client }
}

fn sorted(refusal: Refusal, later: impl Fn(String) -> Error) -> Error {
    if refusal.codes.iter().any(|code| TOO_MANY.contains(code)) {
        return later(refusal.to_string());
    }
    match refusal.error.as_str() {
        "invalid_grant" if mendable(&refusal) => Error::UserMustAct(refusal),
        "interaction_required" | "login_required" | "consent_required" => Error::UserMustAct(refusal),
        "server_error" | "temporarily_unavailable" => later(refusal.to_string()),
        "invalid_client"
        | "unauthorized_client"
        | "invalid_scope"
        | "invalid_target"
        | "invalid_resource"
        | "invalid_request"
        | "unsupported_grant_type" => Error::SetUp(refusal.to_string()),
        "invalid_grant" | "access_denied" => Error::Refused(refusal),
        // Words that Entra does not use: a proxy's. They must end nobody's session.
        _ => later(refusal.to_string()),
    }
}

/// Whether Entra is tired of one user's calls only (the "client request loop"): he must not make everybody else wait.
pub(crate) fn is_for_one_user(answer: &Answer) -> bool {
    answer.status != 200 && refusal(&answer.body).is_some_and(|refusal| refusal.codes.contains(&LOOP))
}

/// Whether the user can mend an `invalid_grant` by interacting. `message_only` says no even when claims ride along.
fn mendable(refusal: &Refusal) -> bool {
    match refusal.suberror.as_deref() {
        Some("message_only" | "bad_token" | "token_expired" | "client_mismatch") => false,
        Some("basic_action" | "additional_action" | "consent_required" | "user_password_expired") => true,
        _ => refusal.claims.is_some(),
    }
}

fn refusal(body: &[u8]) -> Option<Refusal> {
    let body: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let codes = match body.get("error_codes").and_then(Value::as_array) {
        Some(codes) => codes.iter().filter_map(Value::as_u64).filter_map(|code| code.try_into().ok()).take(8).collect(),
        None => text("error_description").and_then(first_code).into_iter().collect(),
    };
    Some(Refusal {
        error: word(text("error")?)?,
        suberror: text("suberror").and_then(word),
        codes,
        correlation_id: text("correlation_id").and_then(guid),
        claims: text("claims").and_then(ClaimsRequest::parse),
    })
}

/// An error word of OAuth, or nothing: what goes into logs and answers must not be free text from outside.
fn word(text: &str) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    (plain && (1..=64).contains(&text.len())).then(|| text.to_owned())
}

/// The first AADSTS number in a text of Entra's, or of ours about one.
pub(crate) fn first_code(description: &str) -> Option<u32> {
    let digits = description.split_once("AADSTS")?.1;
    digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// A number, or a number in a string as IMDS writes it.
pub(crate) fn seconds(value: &Value) -> Option<Duration> {
    number(value).map(life)
}

/// How long something lives that ends at a time since 1970, written likewise.
pub(crate) fn seconds_until(end: &Value, now: SystemTime) -> Option<Duration> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    number(end).map(|end| life(end.saturating_sub(now)))
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn life(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(LONGEST_LIFE))
}

/// Seconds. Thirty days: nothing Entra issues lives longer, and sums with it cannot overflow.
const LONGEST_LIFE: u64 = 30 * 24 * 3600;

#[cfg(test)]
mod tests;
