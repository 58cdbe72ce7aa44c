//! `sallyport audit`: whether the audit log is whole, and what it calls somebody.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{FAILED, USAGE};
use crate::audit::{Break, Subject, Verified, Verifier};
use crate::config::Config;
use crate::sealed::Sealer;
use crate::session::{Selector, Who};
use crate::{core_dumps, server};

#[derive(Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether every line is ours and follows the one before, or where the first one does not.
    Verify {
        /// The configuration of the gateway, TOML: its key ring proves the lines.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Files to read instead of log.audit_file, the oldest first.
        #[arg(long = "file", value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say by which names lines call a user: one for each key of the ring, the newest first.
    Who {
        /// An object id, or TENANT/OBJECT.
        #[arg(value_name = "USER")]
        user: String,
        /// The configuration of the gateway, TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// What is said on standard output, or the mistake and the exit code.
type Outcome = Result<String, (String, u8)>;

impl Audit {
    pub fn run(&self) -> ExitCode {
        // Before the first secret is read. That it failed is said where keys are kept for long.
        let _ = core_dumps::forbid();
        let (Command::Verify { config, .. } | Command::Who { config, .. }) = &self.command;
        let config = match Config::load(config) {
            Ok(config) => config,
            Err(mistakes) => return super::check::report(&mistakes),
        };
        let said = self.answer(config.server).and_then(|said| {
            let written = std::io::stdout().write_all(said.as_bytes());
            written.map_err(|error| (error.to_string(), FAILED))
        });
        match said {
            Ok(()) => ExitCode::SUCCESS,
            Err((words, code)) => {
                eprintln!("sallyport audit: {words}");
                ExitCode::from(code)
            }
        }
    }

    fn answer(&self, settings: server::Settings) -> Outcome {
        let sealer =
            server::sealer(settings.ring, &settings.public_url).map_err(|error| (error.to_string(), FAILED))?;
        match &self.command {
            Command::Who { user, .. } => who(user, settings.entra.authority.allowed_tenants(), &sealer),
            Command::Verify { files, .. } => {
                let own: Vec<PathBuf> = settings.audit.into_iter().collect();
                let files = if files.is_empty() { &own } else { files };
                if files.is_empty() {
                    return Err(("log.audit_file is not set: name a --file".to_owned(), USAGE));
                }
                verify(files, &sealer)
            }
        }
    }
}

/// Without a tenant, of each that is allowed.
fn who(user: &str, tenants: &[String], sealer: &Sealer) -> Outcome {
    let subjects: Vec<_> = match Selector::user(user, tenants) {
        Ok(Selector::User(Who::Identity { tenants, object_id })) => {
            tenants.into_iter().map(|tenant_id| (Subject::of(&tenant_id, &object_id), tenant_id)).collect()
        }
        _ => {
            return Err((
                "a user is an object id, or a tenant id and an object id with a slash between".to_owned(),
                USAGE,
            ));
        }
    };
    let keys = sealer.audit_keys();
    let names = subjects.iter().flat_map(|(subject, tenant_id)| {
        keys.iter()
            .map(move |key| format!("{}  (key {}, tenant {tenant_id})\n", subject.pseudonym(key), key.id().get()))
    });
    Ok(names.collect())
}

fn verify(files: &[PathBuf], sealer: &Sealer) -> Outcome {
    let mut verifier = Verifier::new(sealer.audit_keys());
    for path in files {
        let failed = |cause: std::io::Error| (format!("{}: {cause}", path.display()), FAILED);
        let file = File::open(path).map_err(failed)?;
        // Who writes has the lock while a line is half there, and must not wait for us.
        file.lock_shared().map_err(failed)?;
        let whole = file.metadata().map_err(failed)?.len();
        file.unlock().map_err(failed)?;
        verifier.read(BufReader::new(file.take(whole))).map_err(failed)?.map_err(|found| broken(path, &found))?;
    }
    let last = files.last().map(PathBuf::as_path).unwrap_or(Path::new(""));
    verifier.finish().map(|verified| summary(&verified)).map_err(|found| broken(last, &found))
}

fn broken(path: &Path, found: &Break) -> (String, u8) {
    (format!("{}:{}: the line {}", path.display(), found.line, found.why), FAILED)
}

fn summary(verified: &Verified) -> String {
    let Verified { lines, first, last, missing } = verified;
    let (Some(first), Some(last)) = (first, last) else { return "ok: no lines\n".to_owned() };
    let mut said = format!("ok: {lines} lines, number {} of {} to number {} of {}\n", first.0, first.1, last.0, last.1);
    if *missing > 0 {
        said += &format!("{missing} events have no line, as the lines say: the disk was full, or too slow\n");
    }
    if first.0 != 1 {
        said += &format!("what was before number {} was not shown\n", first.0);
    }
    said
}
