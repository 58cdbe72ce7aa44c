//! `loadtest attack`: the abuse cases of OAuth and MCP, tried from outside against any MCP server that has authorization.
//!
//! It knows nothing but the URL of the MCP endpoint and speaks nothing but HTTP: what it attacks it has discovered
//! (RFC 9728, RFC 8414), as a client would. Each case fails only where an attack was really seen to work, or a MUST was not kept; what
//! is merely not as recommended is told as advice and costs nothing.
//!
//! | module | owns |
//! | --- | --- |
//! | [`http`] | one request on one connection, to the byte; whom it may speak to |
//! | [`person`] | a browser's jar and a person who presses buttons |
//! | [`subject`] | what was discovered of the target, and the steps of a sign-in |
//! | [`cases`] | what is tried, by area |
//! | [`case`] | verdicts and weights |
//! | [`grade`], [`report`] | what they amount to |

pub mod case;
mod cases;
pub mod grade;
mod http;
mod person;
pub mod report;
mod subject;

use std::time::Duration;

use tokio::time::{Instant, timeout};
use url::{Host, Url};

use case::{Row, Verdict};
use http::Client;
use person::Buttons;
use report::Report;
use subject::Subject;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The MCP endpoint.
    pub target: Url,
    /// Origins besides the target's that may be spoken to: its authorization server, its identity provider.
    pub allowed: Vec<Url>,
    /// `name=value` of the button that says yes on a consent page; the first that is there.
    pub allow: Vec<String>,
    /// The one that says no.
    pub deny: Vec<String>,
    /// The button that signs a person in at the identity provider: of one person, and of another. Without any, what
    /// needs a sign-in is not tried.
    pub logins: Vec<String>,
    /// For one answer.
    pub patience: Duration,
    /// For everything.
    pub limit: Duration,
    /// Only the cases of these ids; all, if there is none.
    pub only: Vec<String>,
}

impl Attack {
    /// Tries every case. One that cannot be tried is told with the reason, and stops no other.
    ///
    /// # Errors
    /// When the target cannot be spoken to at all, or says nothing of its authorization server.
    pub async fn run(self) -> anyhow::Result<Report> {
        let begun = Instant::now();
        let client = Client::new(&self.target, &self.allowed, self.patience)?;
        let buttons = Buttons { allow: self.allow, deny: self.deny, logins: self.logins };
        let found = timeout(self.limit, Subject::discover(client, self.target.clone(), buttons)).await;
        let subject = found.map_err(|_| anyhow::anyhow!("the target did not answer in time"))??;
        let mut rows = Vec::new();
        for case in cases::all() {
            if !self.only.is_empty() && !self.only.iter().any(|id| id == case.id) {
                continue;
            }
            let left = self.limit.saturating_sub(begun.elapsed());
            let verdict = match timeout(left.min(ONE_CASE), (case.run)(&subject)).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(trouble)) => Verdict::Untried(trouble.to_string()),
                Err(_) => Verdict::Untried("not done in its time".to_owned()),
            };
            rows.push(Row::new(&case, verdict));
        }
        Ok(Report::new(&self.target, rows, subject.client.sent(), begun.elapsed()))
    }
}

/// Whether the URL is of this machine, whatever a resolver says.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

const ONE_CASE: Duration = Duration::from_secs(60);
