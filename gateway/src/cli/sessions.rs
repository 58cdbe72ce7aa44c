//! `sallyport sessions`: who is signed in, and the kill switch. It goes to the store by itself: no gateway need run.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::runtime;
use url::Url;

use super::progress::Progress;
use super::{FAILED, USAGE};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::session::{BadSelector, List, Listed, Listing, NotRevoked, Roster, Selector};
use crate::{core_dumps, log, server};

#[derive(Args)]
pub struct Sessions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show who is signed in, with which client, for what, and since when.
    List {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        meant: Meant,
    },
    /// End sessions: at every replica, by its next request.
    #[command(group = clap::ArgGroup::new("whose").required(true).args(["user", "client", "session", "all"]))]
    Revoke {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        meant: Meant,
        /// Everybody's.
        #[arg(long)]
        all: bool,
        /// Do it. Without this, --all only says what it would do.
        #[arg(long, conflicts_with_all = ["user", "client", "session"])]
        yes: bool,
    },
}

#[derive(Args)]
struct Common {
    /// The configuration of the gateway, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(multiple = false)]
struct Meant {
    /// Of this user: an object id, TENANT/OBJECT, or the name that the user signs in with.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Of this client: its client id, or the first 16 digits or more of the id that the list shows.
    #[arg(long, value_name = "CLIENT", allow_hyphen_values = true)]
    client: Option<String>,
    /// This one: the first 8 digits or more of its id, as the list and the log show it.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

/// What is said on standard output, and the exit code.
type Outcome = Result<(String, u8), (String, u8)>;

impl Sessions {
    pub fn run(&self) -> ExitCode {
        // Before the first secret is read.
        let hidden = core_dumps::forbid();
        let (common, meant) = match &self.command {
            Command::List { common, meant } | Command::Revoke { common, meant, .. } => (common, meant),
        };
        let config = match Config::load(&common.config) {
            Ok(config) => config,
            Err(mistakes) => return super::check::report(&mistakes),
        };
        log::start(&config.log);
        if let Err(cause) = hidden {
            tracing::warn!(%cause, "the memory of this process can be dumped, with the keys of the ring");
        }
        let outcome = meant
            .selector(config.server.entra.authority.allowed_tenants())
            .map_err(|error| (error.to_string(), USAGE))
            .and_then(|selector| self.ask(config.server, &selector, common.json));
        let written = outcome.and_then(|(said, code)| match io::stdout().write_all(said.as_bytes()) {
            Ok(()) => Ok(code),
            Err(error) => Err((error.to_string(), FAILED)),
        });
        match written {
            Ok(code) => ExitCode::from(code),
            Err((words, code)) => {
                eprintln!("sallyport sessions: {words}");
                ExitCode::from(code)
            }
        }
    }

    fn ask(&self, settings: server::Settings, selector: &Selector, json: bool) -> Outcome {
        let tenants = settings.entra.authority.allowed_tenants().to_vec();
        let failed = |error: &dyn std::fmt::Display| (error.to_string(), FAILED);
        let (roster, audit) = server::roster(settings, Clock::system()).map_err(|error| failed(&error))?.ok_or((
            "with store.url = \"memory:\" sessions are in the gateway's own memory: ask its admin listener, /sessions"
                .to_owned(),
            FAILED,
        ))?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        runtime.block_on(async {
            let _progress = Progress::start(["the store"]);
            match self.command {
                Command::List { .. } => list(&roster, selector, &tenants, json).await,
                Command::Revoke { all: true, yes: false, .. } => rehearse(&roster, selector).await,
                Command::Revoke { .. } => revoke(&roster, selector, json, &audit).await,
            }
        })
    }
}

impl Meant {
    fn selector(&self, tenants: &[String]) -> Result<Selector, BadSelector> {
        match self {
            Self { user: Some(user), .. } => Selector::user(user, tenants),
            Self { client: Some(client), .. } => Selector::client(client),
            Self { session: Some(session), .. } => Selector::session(session),
            _ => Ok(Selector::All),
        }
    }
}

async fn list(roster: &Roster, selector: &Selector, tenants: &[String], json: bool) -> Outcome {
    let list = roster.list(selector, Roster::AT_MOST).await.map_err(|error| (error.to_string(), FAILED))?;
    Ok((if json { text(&list.to_json()) } else { table(&list, selector, tenants) }, 0))
}

/// What `--all` would do.
async fn rehearse(roster: &Roster, selector: &Selector) -> Outcome {
    let list = roster.list(selector, usize::MAX).await.map_err(|error| (error.to_string(), FAILED))?;
    let count = sessions(list.sessions.len());
    Err((format!("this would end {count}: everybody has to sign in again. Add --yes to do it"), USAGE))
}

async fn revoke(roster: &Roster, selector: &Selector, json: bool, audit: &Audit) -> Outcome {
    // Nothing is at hand in this process.
    let revoked = roster.revoke(selector, |_| {}).await;
    audit.record(revoked.event(selector, "cli"));
    audit.finish();
    let ended = sessions(revoked.ended);
    let code = if revoked.is_complete() { 0 } else { FAILED };
    if json {
        return Ok((text(&revoked.to_json()), code));
    }
    match revoked.failure {
        Some(NotRevoked::Store(cause)) => {
            Err((format!("{ended} ended, then: {cause}. Run it again to end the rest"), code))
        }
        Some(failure @ NotRevoked::Ambiguous(_)) => {
            Err((format!("{failure}; nothing was ended. Give more digits"), code))
        }
        None if revoked.unknown > 0 => Err((format!("{ended} ended. {}", unknown(revoked.unknown)), code)),
        None if revoked.ended == 0 => Ok(("No session is meant by that: nothing was ended.\n".to_owned(), code)),
        None => Ok((format!("{ended} ended.\n"), code)),
    }
}

/// Names are one visible line each and are strangers' words all the same: they stand in columns of their own. Tenants are shown
/// where there is more than the one of `tenants`.
fn table(list: &List, selector: &Selector, tenants: &[String]) -> String {
    if list.sessions.is_empty() && list.unknown == 0 {
        return match selector {
            Selector::All => "Nobody is signed in.\n".to_owned(),
            _ => "No session is meant by that.\n".to_owned(),
        };
    }
    let of_the_one = |listing: &Listing| matches!(tenants, [only] if *only == listing.user.tenant_id);
    let one_tenant = list.sessions.iter().filter_map(|session| session.listing.as_ref()).all(of_the_one);
    let heads = ["session", "user", "tenant", "client", "resource", "created", "last used"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(heads).chain(list.sessions.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().filter(|(column, _)| !one_tenant || *column != TENANT);
        let cells = cells.map(|(_, (cell, width))| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    if list.more {
        text += &format!("There are more than {}: ask for a user, a client or a session.\n", list.sessions.len());
    }
    if list.unknown > 0 {
        text += &format!("{}.\n", unknown(list.unknown));
    }
    text
}

fn row(session: &Listed) -> [String; 7] {
    let id = session.id()[..SHOWN].to_owned();
    let Some(listing) = &session.listing else {
        let [tenant, client, resource, created, used] = Default::default();
        return [id, "unknown".to_owned(), tenant, client, resource, created, used];
    };
    let Listing { user, client, created, last_used, .. } = listing;
    let path = Url::parse(&listing.resource).map_or_else(|_| listing.resource.clone(), |url| url.path().to_owned());
    [
        id,
        user.login.as_ref().or(user.name.as_ref()).unwrap_or(&user.object_id).clone(),
        user.tenant_id.clone(),
        format!("{} ({})", client.name, &client.id()[..SHOWN]),
        path,
        created.to_text(),
        last_used.to_text(),
    ]
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn sessions(count: usize) -> String {
    if count == 1 { "1 session".to_owned() } else { format!("{count} sessions") }
}

fn unknown(count: usize) -> String {
    let sessions = sessions(count);
    format!("Whose they are cannot be told of {sessions} without a listing that opens: end them by id, or all")
}

/// The column of tenants.
const TENANT: usize = 2;
/// Of an id's 64 digits, as many as name it.
const SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::sealed::{Index, KeyId};
    use crate::session::{ListedClient, ListedUser};

    fn listed(number: u8, login: Option<&str>) -> Listed {
        let user = ListedUser {
            tenant_id: "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d".into(),
            object_id: "11111111-2222-3333-4444-555555555555".into(),
            name: None,
            login: login.map(str::to_owned),
        };
        let listing = Listing {
            key: KeyId::new(1),
            user,
            client: ListedClient { digest: [number; 32], name: "Cläude".into() },
            resource: "https://mcp.example.com/mcp".into(),
            created: Timestamp::from_unix(1_700_000_000),
            last_used: Timestamp::from_unix(1_700_000_100),
            ends: Timestamp::from_unix(1_700_600_000),
        };
        Listed { session: Index([number; 32]), listing: Some(listing), alive: true }
    }

    #[test]
    fn a_list_is_a_table_and_an_empty_one_says_so() {
        let strange = Listed { listing: None, ..listed(3, None) };
        let sessions = vec![listed(1, Some("adele@contoso.example")), listed(2, None), strange];
        let list = List { sessions, more: false, unknown: 1 };
        let one = ["8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d".to_owned()];
        insta::assert_snapshot!(table(&list, &Selector::All, &one), @r"
        session           user                                  client                     resource  created               last used
        0101010101010101  adele@contoso.example                 Cläude (0101010101010101)  /mcp      2023-11-14T22:13:20Z  2023-11-14T22:15:00Z
        0202020202020202  11111111-2222-3333-4444-555555555555  Cläude (0202020202020202)  /mcp      2023-11-14T22:13:20Z  2023-11-14T22:15:00Z
        0303030303030303  unknown
        Whose they are cannot be told of 1 session without a listing that opens: end them by id, or all.
        ");
        let user = Selector::user("adele", &one).unwrap();
        assert_eq!(table(&List::default(), &Selector::All, &one), "Nobody is signed in.\n");
        assert_eq!(table(&List::default(), &user, &one), "No session is meant by that.\n");
        // Another tenant's: listed among others, or left from when it was.
        let two = [one[0].clone(), "aaaaaaaa-0c3d-4b8e-9f59-5a3f1a2b3c4d".to_owned()];
        for tenants in [&two[..], &two[1..]] {
            let shown = table(&list, &Selector::All, tenants);
            let rows: Vec<_> = shown.lines().collect();
            assert!(rows[0].contains("  tenant  ") && rows[1].contains(&format!("  {}  ", one[0])), "{shown}");
        }
    }
}
