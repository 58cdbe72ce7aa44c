//! The key ring's file: who may read it, and how old its keys are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::span;
use super::{Finding, Subject};
use crate::clock::Timestamp;
use crate::sealed::{KeyInfo, KeyRing, KeyState};
use crate::server::RingSource;

pub fn look(subject: &Subject) -> Vec<Finding> {
    let RingSource::File(file) = &subject.settings.ring else { return Vec::new() };
    let (about, keys) = match (fs::metadata(file), KeyRing::list(file)) {
        (Ok(about), Ok(keys)) => (about, keys),
        (Err(error), _) => return vec![broken(file, &error)],
        (_, Err(error)) => return vec![broken(file, &error)],
    };
    let mut findings = vec![of_permissions(file, about.mode() & 0o777)];
    findings.extend(of_ages(file, &keys, subject.clock.now()));
    findings
}

fn broken(file: &Path, error: &dyn std::fmt::Display) -> Finding {
    Finding::fail("keys.file", format!("{}: {error}", file.display()), "put the ring back from a backup")
}

fn of_permissions(file: &Path, mode: u32) -> Finding {
    const CHECK: &str = "keys.permissions";
    let file = file.display();
    match mode & READ_BY_OTHERS {
        0 => Finding::ok(CHECK, format!("{file} has mode {mode:o}")),
        _ => Finding::fail(
            CHECK,
            format!("{file} has mode {mode:o}: everybody on this machine may read the keys, and make tokens"),
            format!("chmod 600 {file}; if others were on this machine, rotate the keys and revoke those there are now"),
        ),
    }
}

fn of_ages(file: &Path, keys: &[KeyInfo], now: Timestamp) -> Vec<Finding> {
    const CHECK: &str = "keys.age";
    let file = file.display();
    let age = |key: &KeyInfo| now.remaining(key.created).as_secs();
    let in_state = |state| keys.iter().find(move |key| key.state == state);
    let mut findings = Vec::new();
    if let Some(active) = in_state(KeyState::Active) {
        let says = format!("key {} is active, and {} old", active.id.get(), span(age(active)));
        findings.push(match age(active) > OLD {
            false => Finding::ok(CHECK, says),
            true => Finding::warn(CHECK, says, format!("sallyport keys rotate --file {file}")),
        });
    }
    if let Some(next) = in_state(KeyState::Next).filter(|next| age(next) > FORGOTTEN) {
        let says = format!("key {} waits to become active since {}", next.id.get(), span(age(next)));
        findings.push(Finding::warn("keys.rotation", says, format!("sallyport keys rotate --file {file}, once more")));
    }
    findings
}

const READ_BY_OTHERS: u32 = 0o004;
const DAY: u64 = 24 * 3600;
const OLD: u64 = 180 * DAY;
/// A rotation takes minutes, or as long as a file needs to every replica.
const FORGOTTEN: u64 = DAY;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::sealed::KeyId;

    #[test]
    fn old_keys_and_rotations_that_were_forgotten_are_warnings() {
        let key = |id, state, created| KeyInfo { id: KeyId::new(id), state, created: Timestamp::from_unix(created) };
        let (file, now) = (Path::new("keys.json"), Timestamp::from_unix(200 * DAY));
        let levels = |keys: &[KeyInfo]| of_ages(file, keys, now).iter().map(|found| found.level).collect::<Vec<_>>();
        assert_eq!(levels(&[key(1, KeyState::Active, 199 * DAY)]), [Level::Ok]);
        assert_eq!(levels(&[key(1, KeyState::Active, DAY)]), [Level::Warn]);
        let rotating = [key(1, KeyState::Active, 100 * DAY), key(2, KeyState::Next, 200 * DAY - 600)];
        assert_eq!(levels(&rotating), [Level::Ok]);
        let forgotten = [key(1, KeyState::Active, 100 * DAY), key(2, KeyState::Next, 190 * DAY)];
        let found = of_ages(file, &forgotten, now);
        assert_eq!(found[1].says, "key 2 waits to become active since 10 days");
        assert_eq!(found[1].fix.as_deref(), Some("sallyport keys rotate --file keys.json, once more"));
    }

    #[test]
    fn only_the_owner_and_a_group_may_read_the_ring() {
        let file = Path::new("keys.json");
        assert_eq!([0o600, 0o640, 0o400].map(|mode| of_permissions(file, mode).level), [Level::Ok; 3]);
        let open = of_permissions(file, 0o644);
        assert_eq!(open.level, Level::Fail);
        assert!(open.fix.unwrap().starts_with("chmod 600 keys.json"));
    }
}
