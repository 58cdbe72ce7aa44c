//! Entra: whether it is the one that is meant, whether it believes us, and whether it would let somebody sign in.

use std::time::SystemTime;

use ::entra::{AuthorizeRequest, Error, SignInAnswer, advice};
use tokio::join;

use super::finding::{shown, span};
use super::{Finding, Level, Subject, assertion};
use crate::clock::Timestamp;
use crate::oauth::CALLBACK;

pub async fn look(subject: &Subject) -> Vec<Finding> {
    let authority = &subject.settings.entra.authority;
    let issuer = authority.issuer_v2();
    let mut findings = Vec::new();
    match subject.entra.check_authority().await {
        Ok(date) => {
            findings.push(Finding::ok("entra.authority", format!("the tenant's issuer is {issuer}")));
            findings.extend(date.map(|date| of_clock("clock.entra", "Entra's", date, subject.clock.now())));
        }
        Err(error @ Error::TryLater { .. }) => {
            let host = authority.token_url().origin().ascii_serialization();
            let fix = format!(
                "let this machine reach {host}: name server, firewall, HTTPS_PROXY, and entra.extra_ca_file where a proxy \
                 inspects TLS"
            );
            // All else would fail alike.
            return vec![Finding::fail("entra.authority", shown(&error.to_string()), fix)];
        }
        Err(error) => {
            let fix = format!(
                "correct entra.tenant_id, entra.cloud or entra.authority: the issuer must be {issuer}, as the tenant's \
                 overview has it"
            );
            return vec![Finding::fail("entra.authority", shown(&error.to_string()), fix)];
        }
    }
    let (keys, proof, sign_in) = join!(of_keys(subject), of_proof(subject), of_sign_in(subject));
    findings.extend([keys]);
    findings.extend(proof);
    findings.extend(sign_in);
    findings
}

/// Tokens say when they begin and end: two clocks that differ by minutes make them useless.
pub fn of_clock(check: &'static str, whose: &str, there: SystemTime, here: Timestamp) -> Finding {
    let there = there.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (apart, way) = match there.checked_sub(here.unix()) {
        Some(ahead) => (ahead, "behind"),
        None => (here.unix() - there, "ahead of"),
    };
    let says = format!("this machine's clock is {} {way} {whose}", span(apart));
    let fix = "set the clock, and keep it set: systemctl enable --now systemd-timesyncd, or chrony";
    match apart {
        0..CLOCKS_AGREE => Finding::ok(check, format!("this machine's clock agrees with {whose}")),
        CLOCKS_AGREE..CLOCKS_DIFFER => Finding::warn(check, says, fix),
        _ => Finding::fail(check, says, fix),
    }
}

async fn of_keys(subject: &Subject) -> Finding {
    match subject.entra.check_keys().await {
        Ok(()) => Finding::ok("entra.keys", "the keys that sign tokens can be had"),
        Err(error) => Finding::fail("entra.keys", shown(&error.to_string()), "ask again in some minutes"),
    }
}

async fn of_proof(subject: &Subject) -> Vec<Finding> {
    let (settings, now) = (&subject.settings, subject.clock.now());
    let authority = &settings.entra.authority;
    let (endpoint, audience) = (authority.token_url(), authority.cloud().exchange_audience());
    let mut findings = assertion::look(&settings.credential, &*subject.credential, &endpoint, audience, now).await;
    if findings.iter().any(|finding| finding.level == Level::Fail) {
        return findings;
    }
    match subject.entra.check_proof().await {
        Ok(()) => {
            let says = format!("Entra believes that this is application {}", settings.entra.client_id);
            findings.push(Finding::ok("entra.exchange", says));
        }
        Err(error) => {
            findings.push(refused("entra.exchange", &error, "see the app registration's certificates and secrets"));
            return findings;
        }
    }
    for scope in scopes(subject) {
        if let Err(error) = subject.entra.check_resource(scope).await {
            let says = format!("{scope}: {error}");
            findings.push(Finding { says: shown(&says), ..refused("entra.resource", &error, "see entra.scope") });
        }
    }
    findings
}

/// Redirect URI and scopes, by what the sign-in page makes of them without a user.
async fn of_sign_in(subject: &Subject) -> Vec<Finding> {
    let redirect_uri = subject.settings.public_url.join(CALLBACK);
    let mut findings = Vec::new();
    for scope in scopes(subject) {
        let request = AuthorizeRequest {
            redirect_uri: &redirect_uri,
            scope: &format!("{scope} openid profile offline_access"),
            state: "doctor",
            nonce: "doctor",
            code_challenge: NOBODYS_CHALLENGE,
            prompt: None,
            login_hint: None,
            claims: None,
        };
        match subject.entra.check_sign_in(&request).await {
            Ok(answer) => findings.extend(of_answer(&answer, &redirect_uri, scope)),
            Err(error) => findings.push(refused("entra.redirect_uri", &error, "ask again in some minutes")),
        }
    }
    // With several scopes the redirect URI is the same one.
    findings.sort_by_key(|finding| finding.check != "entra.redirect_uri");
    findings.dedup();
    findings
}

fn of_answer(answer: &SignInAnswer, redirect_uri: &str, scope: &str) -> Vec<Finding> {
    let known = || Finding::ok("entra.redirect_uri", format!("{redirect_uri} is registered"));
    let number = |code: &u32| format!("AADSTS{code}");
    match answer {
        SignInAnswer::Known => {
            vec![known(), Finding::ok("entra.scope", format!("{scope} is exposed, and may be asked for"))]
        }
        SignInAnswer::Refused(code @ UNKNOWN_REDIRECT_URI) => vec![Finding::fail(
            "entra.redirect_uri",
            format!("{redirect_uri} is not registered: {}", number(code)),
            advice(*code).unwrap_or_default(),
        )],
        // The redirect URI is looked at before the scope, and after the application.
        SignInAnswer::Refused(code) if OF_THE_SCOPE.contains(code) => vec![
            known(),
            Finding::fail(
                "entra.scope",
                format!("{scope} cannot be asked for: {}", number(code)),
                advice(*code).unwrap_or("correct entra.scope"),
            ),
        ],
        SignInAnswer::Refused(code) => vec![Finding::fail(
            "entra.redirect_uri",
            format!("nobody can sign in: {}", number(code)),
            advice(*code).unwrap_or("look the number up at https://login.microsoftonline.com/error"),
        )],
        SignInAnswer::Unclear(how) => vec![Finding::warn(
            "entra.redirect_uri",
            format!("whether Entra knows {redirect_uri} and {scope} could not be told: {how}"),
            "compare both with the app registration, under Authentication (platform Web) and API permissions; then sign in once",
        )],
    }
}

fn refused(check: &'static str, error: &Error, otherwise: &str) -> Finding {
    let fix = error.number().and_then(advice).unwrap_or(otherwise);
    Finding::fail(check, shown(&error.to_string()), fix)
}

/// Each once, in the order of the upstreams.
fn scopes(subject: &Subject) -> Vec<&str> {
    let mut scopes = Vec::new();
    for upstream in &subject.settings.upstreams {
        if !scopes.contains(&upstream.scope.as_str()) {
            scopes.push(upstream.scope.as_str());
        }
    }
    scopes
}

const UNKNOWN_REDIRECT_URI: u32 = 50_011;
const OF_THE_SCOPE: [u32; 9] = [70_011, 650_053, 650_057, 65_001, 500_011, 901_002, 9_010_010, 28_000, 1_002_012];
/// Of a verifier that nobody has: no code can come of it.
const NOBODYS_CHALLENGE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Seconds. Entra takes five minutes; our own tokens are compared among replicas, and ID tokens within two.
const CLOCKS_AGREE: u64 = 10;
const CLOCKS_DIFFER: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented::{is_generated, table};

    /// Numbers with the same advice share a row.
    #[test]
    fn the_reference_has_all_advice() {
        let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
        for number in 0..10_000_000 {
            let Some(words) = advice(number) else { continue };
            match rows.iter_mut().find(|(said, _)| *said == words) {
                Some((_, numbers)) => numbers.push(number.to_string()),
                None => rows.push((words, vec![number.to_string()])),
            }
        }
        let rows = rows.into_iter().map(|(words, numbers)| vec![numbers.join(" "), words.to_owned()]);
        is_generated("errors.md", "entra", &table(&["AADSTS", "what to do"], rows));
    }

    #[test]
    fn clocks_that_differ_by_a_minute_are_a_failure() {
        let here = Timestamp::from_unix(1_000_000);
        let found = |seconds: i64| {
            let there = SystemTime::from(Timestamp::from_unix(1_000_000_u64.checked_add_signed(seconds).unwrap()));
            of_clock("clock.entra", "Entra's", there, here)
        };
        assert_eq!([-9, 0, 9].map(|seconds| found(seconds).level), [Level::Ok; 3]);
        assert_eq!([-59, -10, 10, 59].map(|seconds| found(seconds).level), [Level::Warn; 4]);
        assert_eq!(found(600).says, "this machine's clock is 10 minutes behind Entra's");
        assert_eq!(found(-3600).says, "this machine's clock is 1 hour ahead of Entra's");
        assert_eq!([600, -60].map(|seconds| found(seconds).level), [Level::Fail; 2]);
    }

    #[test]
    fn what_the_sign_in_page_says_is_about_the_redirect_uri_or_the_scope() {
        let found = |answer| {
            let found = of_answer(&answer, "https://e.example/oauth-callback", "api://m/access_as_user");
            found.into_iter().map(|finding| (finding.check, finding.level)).collect::<Vec<_>>()
        };
        let (uri, scope) = ("entra.redirect_uri", "entra.scope");
        assert_eq!(found(SignInAnswer::Known), [(uri, Level::Ok), (scope, Level::Ok)]);
        assert_eq!(found(SignInAnswer::Refused(50011)), [(uri, Level::Fail)]);
        assert_eq!(found(SignInAnswer::Refused(650053)), [(uri, Level::Ok), (scope, Level::Fail)]);
        assert_eq!(found(SignInAnswer::Refused(700016)), [(uri, Level::Fail)]);
        assert_eq!(found(SignInAnswer::Unclear("a page".into())), [(uri, Level::Warn)]);
    }
}
