use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::file::{Editing, RingFile};
use super::*;
use crate::clock::Timestamp;
use crate::sealed::{OpenError, Sealer};
use crate::secret::random_bytes;

const NOW: Timestamp = Timestamp::from_unix(1_000_000);
const PATIENCE: Duration = Duration::from_secs(300);

fn key(id: u32, state: &str) -> String {
    key_of(id as u8, id, state)
}

fn key_of(byte: u8, id: u32, state: &str) -> String {
    let key = BASE64_URL_SAFE_NO_PAD.encode([byte; 32]);
    format!(r#"{{"id":{id},"created":0,"state":"{state}","key":"{key}"}}"#)
}

fn text(keys: &[String]) -> String {
    format!(r#"{{"version":1,"keys":[{}]}}"#, keys.join(","))
}

fn ring(keys: &[String]) -> Result<KeyRing, KeyRingError> {
    KeyRing::parse(&text(keys))
}

fn file(keys: &[String]) -> RingFile {
    RingFile::parse(&text(keys)).unwrap()
}

fn states(ring: &RingFile) -> Vec<(u32, KeyState)> {
    ring.keys.iter().map(|key| (key.id.get(), key.state)).collect()
}

/// A folder with one ring, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let random = u64::from_be_bytes(random_bytes());
        let folder = std::env::temp_dir().join(format!("sallyport-ring-{random:016x}"));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn ring(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    fn with(text: &str, mode: u32) -> Self {
        let folder = Self::new();
        fs::write(folder.ring(), text).unwrap();
        fs::set_permissions(folder.ring(), PermissionsExt::from_mode(mode)).unwrap();
        folder
    }

    fn mode(&self) -> u32 {
        fs::metadata(self.ring()).unwrap().mode() & 0o777
    }

    fn names(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_created_ring_loads_and_is_for_its_owner_only() {
    let folder = Folder::new();
    KeyRing::create(&folder.ring(), NOW).unwrap();
    assert_eq!(folder.mode(), 0o600);
    assert_eq!(KeyRing::load(&folder.ring()).unwrap().active_id(), KeyId(1));
    let again = KeyRing::create(&folder.ring(), NOW);
    assert!(matches!(again, Err(KeyRingError::Unwritable(_))), "a ring is never overwritten");
}

#[test]
fn a_revoked_key_is_not_in_the_ring_and_a_next_one_is() {
    let ring = ring(&[key(1, "revoked"), key(2, "active"), key(3, "open-only"), key(4, "next")]).unwrap();
    assert!(ring.get(KeyId(1)).is_none());
    assert!(ring.get(KeyId(3)).is_some() && ring.get(KeyId(4)).is_some());
    assert_eq!((ring.active_id(), KeyState::ALL.map(|state| ring.count(state))), (KeyId(2), [1, 1, 1, 1]));
}

/// A client registered before a rotation keeps its id and its secret, until its key is revoked.
#[test]
fn what_goes_with_a_sealed_text_survives_a_rotation() {
    let sealer = |keys: &[String]| Sealer::new(ring(keys).unwrap(), "https://mcp.example.com");
    let before = sealer(&[key(1, "active")]);
    let text = before.seal(Purpose::Client, &[], &7u8);
    let secret = before.companion(Purpose::Client, &text).unwrap();
    let after = sealer(&[key(1, "open-only"), key(2, "active")]);
    assert_eq!(after.open::<u8>(Purpose::Client, &[], &text), Ok(7));
    assert!(after.companion(Purpose::Client, &text).unwrap() == secret);
    let revoked = sealer(&[key(1, "revoked"), key(2, "active")]);
    assert_eq!(revoked.companion(Purpose::Client, &text).err(), Some(OpenError::UnknownKey));
    assert!(before.companion(Purpose::Client, &before.seal(Purpose::Client, &[], &7u8)).unwrap() != secret);
}

#[test]
fn a_bad_ring_is_refused_by_its_fault() {
    assert!(matches!(ring(&[]), Err(KeyRingError::Empty)));
    assert!(matches!(ring(&[key(1, "open-only")]), Err(KeyRingError::Active(0))));
    assert!(matches!(ring(&[key(1, "active"), key(2, "active")]), Err(KeyRingError::Active(2))));
    let two_next = [key(1, "active"), key(2, "next"), key(3, "next")];
    assert!(matches!(ring(&two_next), Err(KeyRingError::Next(2))));
    assert!(matches!(ring(&[key(1, "active"), key(1, "revoked")]), Err(KeyRingError::Duplicate(KeyId(1)))));
    let short = r#"{"id":1,"created":0,"state":"active","key":"AAAA"}"#.to_owned();
    assert!(matches!(ring(&[short]), Err(KeyRingError::BadKey(KeyId(1)))));
    let none = r#"{"id":1,"created":0,"state":"active"}"#.to_owned();
    assert!(matches!(ring(&[none]), Err(KeyRingError::BadKey(KeyId(1)))));
    let newer = r#"{"version":2,"keys":[],"something":"new"}"#;
    assert!(matches!(KeyRing::parse(newer), Err(KeyRingError::Version(2))));
    for text in ["", "{", "null", "[]", "{\"version\":1}", "{\"version\":-1,\"keys\":[]}", "\u{0}"] {
        assert!(matches!(KeyRing::parse(text), Err(KeyRingError::Malformed { .. })), "{text:?}");
    }
}

/// A disk that was full, a copy that broke off.
#[test]
fn a_ring_cut_anywhere_is_refused_and_its_fault_says_what_to_do() {
    let whole = text(&[key(1, "open-only"), key(2, "active"), key(3, "next")]);
    let secret = BASE64_URL_SAFE_NO_PAD.encode([2; 32]);
    for length in 0..whole.len() {
        let error = KeyRing::parse(&whole[..length]).err().unwrap_or_else(|| panic!("{length} characters are a ring"));
        assert!(matches!(error, KeyRingError::Malformed { .. }), "{length}: {error}");
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
        assert!(!format!("{error:?}").contains(&secret[..8]));
    }
    // On disk as well, in a file that ends with a line as ours do.
    let folder = Folder::new();
    KeyRing::create(&folder.ring(), NOW).unwrap();
    let whole = fs::read(folder.ring()).unwrap();
    assert_eq!(whole.last(), Some(&b'\n'));
    for length in 0..whole.len() - 1 {
        fs::write(folder.ring(), &whole[..length]).unwrap();
        assert!(matches!(KeyRing::load(&folder.ring()), Err(KeyRingError::Malformed { .. })), "{length} bytes");
    }
}

#[test]
fn a_ring_of_another_version_is_refused_by_its_number_whatever_else_it_holds() {
    for version in [0, 2, u32::MAX] {
        let other = text(&[key(1, "active")]).replace("\"version\":1", &format!("\"version\":{version}"));
        let error = KeyRing::parse(&other).err().unwrap();
        assert!(matches!(error, KeyRingError::Version(found) if found == version));
        assert!(error.to_string().contains("use the program that wrote it, or a backup"), "{error}");
    }
}

/// The parser's own words quote what it stumbles over, and a key can stand in any place.
#[test]
fn no_fault_shows_a_key() {
    let secret = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    for key in [
        format!(r#"{{"id":"{secret}","created":0,"state":"active","key":"{secret}"}}"#),
        format!(r#"{{"id":1,"created":0,"state":"{secret}","key":"{secret}"}}"#),
        format!(r#"{{"id":1,"created":0,"state":"active","{secret}":"{secret}"}}"#),
        format!(r#"{{"id":1,"created":0,"state":"active","key":"{secret}{secret}"}}"#),
        secret.clone(),
        format!("{secret:?}"),
    ] {
        let error = ring(&[key]).err().unwrap();
        assert!(!format!("{error} {error:?}").contains(&secret), "{error}");
    }
}

#[test]
fn a_file_that_others_may_write_is_refused_and_one_that_they_may_read_is_not() {
    let good = text(&[key(1, "active")]);
    for mode in [0o620, 0o602, 0o666] {
        let folder = Folder::with(&good, mode);
        assert!(matches!(KeyRing::load(&folder.ring()), Err(KeyRingError::Writable(found)) if found == mode));
        let rotated = KeyRing::rotate(&folder.ring(), NOW, PATIENCE);
        assert!(matches!(rotated, Err(EditError::Ring(KeyRingError::Writable(_)))));
    }
    for mode in [0o600, 0o400, 0o640, 0o644] {
        assert!(KeyRing::load(&Folder::with(&good, mode).ring()).is_ok(), "{mode:o}");
    }
}

#[test]
fn what_is_no_file_of_text_is_refused() {
    let folder = Folder::with("\u{fffd}", 0o600);
    assert!(matches!(KeyRing::load(&folder.0), Err(KeyRingError::NotAFile)));
    assert!(matches!(KeyRing::rotate(&folder.0, NOW, PATIENCE), Err(EditError::Ring(KeyRingError::NotAFile))));
    assert!(matches!(KeyRing::load(&folder.0.join("absent")), Err(KeyRingError::Unreadable(_))));
    fs::write(folder.ring(), b"\xff\xfe").unwrap();
    assert!(matches!(KeyRing::load(&folder.ring()), Err(KeyRingError::Malformed { .. })));
    fs::write(folder.ring(), " ".repeat(1 << 20)).unwrap();
    assert!(matches!(KeyRing::load(&folder.ring()), Err(KeyRingError::Malformed { .. })));
}

#[test]
fn a_rotation_takes_two_steps_and_time_between_them() {
    let mut ring = file(&[key(1, "active")]);
    assert_eq!(ring.rotate(NOW, PATIENCE).unwrap(), Rotated::Added { next: KeyId(2) });
    assert_eq!(states(&ring), [(1, KeyState::Active), (2, KeyState::Next)]);
    for (after, left) in [(0, 300), (299, 1)] {
        let refused = ring.rotate(NOW.after(Duration::from_secs(after)), PATIENCE).unwrap_err();
        assert!(matches!(refused, EditError::TooSoon { next: KeyId(2), left: found } if found.as_secs() == left));
    }
    // A clock that was set back proves nothing about the time between.
    assert!(ring.rotate(Timestamp::from_unix(0), PATIENCE).is_err());
    let activated = Rotated::Activated { active: KeyId(2), before: KeyId(1) };
    assert_eq!(ring.rotate(NOW.after(PATIENCE), PATIENCE).unwrap(), activated);
    assert_eq!(states(&ring), [(1, KeyState::OpenOnly), (2, KeyState::Active)]);

    assert_eq!(ring.rotate(NOW, Duration::ZERO).unwrap(), Rotated::Added { next: KeyId(3) });
    assert!(matches!(ring.rotate(NOW, Duration::ZERO), Ok(Rotated::Activated { active: KeyId(3), .. })));
}

#[test]
fn revoking_removes_the_key_and_needs_a_successor_for_the_active_one() {
    let mut ring = file(&[key(1, "open-only"), key(2, "active"), key(3, "next")]);
    assert!(matches!(ring.revoke(KeyId(9), Successor::Fresh, NOW), Err(EditError::NoSuchKey(KeyId(9)))));
    assert_eq!(ring.revoke(KeyId(1), Successor::Next, NOW).unwrap(), Revoked::Now { active: KeyId(2) });
    assert_eq!(ring.revoke(KeyId(1), Successor::Next, NOW).unwrap(), Revoked::Before);
    assert!(ring.keys[0].key.is_none(), "its secret is gone");
    assert_eq!(ring.revoke(KeyId(2), Successor::Fresh, NOW).unwrap(), Revoked::Now { active: KeyId(3) });
    let refused = ring.revoke(KeyId(3), Successor::Next, NOW);
    assert!(matches!(refused, Err(EditError::NoSuccessor(KeyId(3)))));
    assert_eq!(ring.revoke(KeyId(3), Successor::Fresh, NOW).unwrap(), Revoked::Now { active: KeyId(4) });
    let revoked = |id| (id, KeyState::Revoked);
    assert_eq!(states(&ring), [revoked(1), revoked(2), revoked(3), (4, KeyState::Active)]);
    // What is left is a ring.
    let text = serde_json::to_string(&ring).unwrap();
    assert_eq!(KeyRing::parse(&text).unwrap().active_id(), KeyId(4));
}

#[test]
fn an_id_is_never_used_twice_and_keys_are_few() {
    let mut ring = file(&[key(7, "active"), key(9, "revoked")]);
    assert_eq!(ring.rotate(NOW, PATIENCE).unwrap(), Rotated::Added { next: KeyId(10) });
    let mut ring = file(&[key(u32::MAX, "active")]);
    assert!(matches!(ring.rotate(NOW, PATIENCE), Err(EditError::Full)));

    let mut ring = file(&[key(1, "active")]);
    let refused = (0..100).find_map(|_| ring.rotate(NOW, Duration::ZERO).err()).unwrap();
    assert!(matches!(refused, EditError::Full));
    assert_eq!(ring.keys.len(), 16);
    ring.revoke(KeyId(1), Successor::Next, NOW).unwrap();
    assert!(ring.rotate(NOW, Duration::ZERO).is_ok());
}

#[test]
fn a_change_replaces_the_file_and_keeps_its_group_and_its_links() {
    for (before, after) in [(0o600, 0o600), (0o644, 0o640), (0o640, 0o640), (0o400, 0o600)] {
        let folder = Folder::with(&text(&[key(1, "active")]), before);
        let inode = fs::metadata(folder.ring()).unwrap().ino();
        std::os::unix::fs::symlink("keys.json", folder.0.join("link")).unwrap();
        KeyRing::rotate(&folder.0.join("link"), NOW, PATIENCE).unwrap();
        assert_eq!((folder.mode(), folder.names()), (after, 2));
        assert_ne!(fs::metadata(folder.ring()).unwrap().ino(), inode, "whoever reads it has one or the other");
        assert!(fs::symlink_metadata(folder.0.join("link")).unwrap().is_symlink());
        let listed = KeyRing::list(&folder.ring()).unwrap();
        assert_eq!(listed[1], KeyInfo { id: KeyId(2), state: KeyState::Next, created: NOW });
    }
}

#[test]
fn two_commands_at_once_do_not_undo_each_other() {
    let folder = Folder::with(&text(&[key(1, "active")]), 0o600);
    let editing = Editing::begin(&folder.ring()).unwrap();
    let other = KeyRing::rotate(&folder.ring(), NOW, PATIENCE);
    assert!(matches!(other, Err(EditError::Ring(KeyRingError::Busy))));
    editing.finish().unwrap();
    assert!(KeyRing::rotate(&folder.ring(), NOW, PATIENCE).is_ok());
}

#[test]
fn only_a_later_state_of_the_same_ring_follows() {
    let before = ring(&[key(1, "open-only"), key(2, "active")]).unwrap();
    let follows = |keys: &[String]| ring(keys).unwrap().follows(&before).is_ok();
    assert!(follows(&[key(1, "open-only"), key(2, "active"), key(3, "next")]));
    assert!(follows(&[key(2, "revoked"), key(3, "active")]));
    assert!(follows(&[key(2, "active")]), "an old key may be taken out by hand");
    assert!(!follows(&[key(3, "active")]), "a ring made anew");
    assert!(!follows(&[key_of(9, 1, "active")]), "another installation's, whose ids are the same");
    assert!(!follows(&[key_of(9, 1, "open-only"), key(2, "active")]));
}
