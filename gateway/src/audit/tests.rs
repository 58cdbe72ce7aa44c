use std::fs;
use std::path::PathBuf;

use super::verify::Why;
use super::*;
use crate::clock::Timestamp;
use crate::sealed::{Index, KeyId, KeyRing, Successor};
use crate::secret::random_bytes;

/// A folder of its own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name: String = random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = std::env::temp_dir().join(format!("sallyport-audit-{name}"));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("audit.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sealer() -> Sealer {
    Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com")
}

fn audit(path: &Path, sealer: &Sealer) -> Audit {
    let clock = Clock::manual(Timestamp::from_unix(1_700_000_000));
    Audit::to_file(AuditFile::open(path).unwrap(), sealer.clone(), clock, Counts::of_nobody())
}

/// Unbounded, and each a little different.
fn event(number: u64) -> Event {
    Event::new(Kind::ToolCall, Outcome::Ok).session(Index([7; 32])).number(Field::Status, number)
}

fn written(events: u64) -> (Folder, Sealer, String) {
    let (folder, sealer) = (Folder::new(), sealer());
    let audit = audit(&folder.file(), &sealer);
    (1..=events).for_each(|number| audit.record(event(number)));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    (folder, sealer, text)
}

fn verify(sealer: &Sealer, texts: &[&str]) -> Result<Verified, Break> {
    let mut verifier = Verifier::new(sealer.audit_keys());
    for text in texts {
        verifier.read(text.as_bytes()).unwrap()?;
    }
    verifier.finish()
}

fn broken(sealer: &Sealer, text: &str) -> (u64, Why) {
    let found = verify(sealer, &[text]).expect_err(text);
    (found.line, found.why)
}

#[test]
fn lines_follow_one_another_and_are_proven() {
    let (_folder, sealer, text) = written(5);
    let verified = verify(&sealer, &[&text]).unwrap();
    assert_eq!((verified.lines, verified.missing), (5, 0));
    assert_eq!(verified.first, Some((1, "2023-11-14T22:13:20.000Z".to_owned())));
    assert_eq!(verified.last.unwrap().0, 5);
    let first = text.lines().next().unwrap();
    let start = r#"{"time":"2023-11-14T22:13:20.000Z","seq":1,"event":"tool-call","outcome":"ok","session":"07070707","status":1,"key":1,"prev":"0000"#;
    assert!(first.starts_with(start), "{first}");
}

#[test]
fn every_way_of_tampering_is_found() {
    let (_folder, sealer, text) = written(6);
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let changed = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        joined(&lines)
    };
    assert_eq!(broken(&sealer, &changed(2, &lines[2].replace("\"status\":3", "\"status\":9"))), (3, Why::Forged));
    assert_eq!(broken(&sealer, &changed(2, "{\"seq\":3}")), (3, Why::Foreign));
    assert_eq!(broken(&sealer, &changed(2, "")), (3, Why::Foreign));
    // Deleted, in the middle; two of them.
    assert_eq!(broken(&sealer, &joined(&[&lines[..2], &lines[3..]].concat())), (3, Why::Gone(1)));
    assert_eq!(broken(&sealer, &joined(&[&lines[..1], &lines[3..]].concat())), (2, Why::Gone(2)));
    // Inserted: an old line again, or one made up.
    assert_eq!(broken(&sealer, &joined(&[&lines[..3], &lines[1..]].concat())), (4, Why::Again(2)));
    let made_up = lines[3].replace("\"status\":4", "\"status\":7");
    assert_eq!(broken(&sealer, &joined(&[&lines[..3], &[&made_up], &lines[3..]].concat())), (4, Why::Forged));
    // Swapped.
    let swapped = [lines[0], lines[2], lines[1], lines[3]];
    assert_eq!(broken(&sealer, &joined(&swapped)), (2, Why::Gone(1)));
    // Cut within a line.
    assert_eq!(broken(&sealer, &text[..text.len() - 20]), (6, Why::Torn));
    // Every single byte counts.
    for at in (0..lines[3].len()).step_by(7) {
        let mut bytes = lines[3].as_bytes().to_vec();
        bytes[at] ^= 1;
        let line = String::from_utf8(bytes).unwrap();
        let (number, _) = broken(&sealer, &changed(3, &line));
        assert_eq!(number, 4, "{line}");
    }
    // Another installation's ring proves nothing here.
    assert_eq!(broken(&super::tests::sealer(), &text), (1, Why::Forged));
}

#[test]
fn a_cut_while_the_gateway_runs_shows_in_the_next_line() {
    let (folder, sealer) = (Folder::new(), sealer());
    let audit = audit(&folder.file(), &sealer);
    (1..=4).for_each(|number| audit.record(event(number)));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    let two: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(folder.file(), two).unwrap();
    audit.record(event(5));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    assert_eq!(broken(&sealer, &text), (3, Why::Gone(2)));
}

#[test]
fn the_chain_goes_on_after_a_restart_and_a_torn_line_counts_as_missing() {
    let (folder, sealer, text) = written(3);
    fs::write(folder.file(), text + "{\"time\":\"2023-11-").unwrap();
    let audit = audit(&folder.file(), &sealer);
    audit.record(event(4));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    let verified = verify(&sealer, &[&text]).unwrap();
    assert_eq!((verified.lines, verified.missing), (4, 1), "{text}");
}

#[test]
fn a_file_that_is_renamed_is_followed_by_one_that_goes_on() {
    let (folder, sealer) = (Folder::new(), sealer());
    let audit = audit(&folder.file(), &sealer);
    (1..=3).for_each(|number| audit.record(event(number)));
    audit.finish();
    let before = folder.0.join("audit.log.1");
    fs::rename(folder.file(), &before).unwrap();
    audit.record(event(4));
    audit.finish();
    let (one, two) = (fs::read_to_string(&before).unwrap(), fs::read_to_string(folder.file()).unwrap());
    assert_eq!(verify(&sealer, &[&one, &two]).unwrap().lines, 4);
    assert_eq!(verify(&sealer, &[&two]).unwrap().first.unwrap().0, 4, "alone it goes on from what is not there");
    // Copied and emptied, as some rotate: the chain goes on likewise.
    fs::write(folder.file(), "").unwrap();
    audit.record(event(5));
    audit.finish();
    let three = fs::read_to_string(folder.file()).unwrap();
    assert_eq!(verify(&sealer, &[&one, &two, &three]).unwrap().lines, 5);
    assert_eq!(verify(&sealer, &[&one, &three]).unwrap_err(), Break { line: 1, why: Why::Gone(1) });
}

#[test]
fn two_processes_share_a_file() {
    let (folder, sealer) = (Folder::new(), sealer());
    let audits = [audit(&folder.file(), &sealer), audit(&folder.file(), &sealer)];
    std::thread::scope(|scope| {
        for audit in &audits {
            scope.spawn(|| {
                for number in 0..200 {
                    audit.record(event(number));
                    if number % 10 == 0 {
                        audit.finish();
                    }
                }
            });
        }
    });
    audits.iter().for_each(Audit::finish);
    let verified = verify(&sealer, &[&fs::read_to_string(folder.file()).unwrap()]).unwrap();
    assert_eq!((verified.lines, verified.missing), (400, 0));
}

#[test]
fn a_full_disk_blocks_nobody_and_what_is_lost_is_counted() {
    let sealer = sealer();
    let counts = Counts::of_nobody();
    let file = AuditFile::open(Path::new("/dev/full")).unwrap();
    let audit = Audit::to_file(file, sealer, Clock::system(), counts.clone());
    let begun = std::time::Instant::now();
    for number in 0..20_000 {
        audit.record(event(number));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    audit.finish();
    assert_eq!(counts.dropped.get(), 20_000);
    assert_eq!(counts.sequence.get(), 0);
}

#[test]
fn when_there_is_room_again_the_next_line_says_how_many_are_missing() {
    let (folder, sealer) = (Folder::new(), sealer());
    let audit = audit(&folder.file(), &sealer);
    audit.record(event(1));
    audit.finish();
    // A link that leads to a full disk, and back.
    let kept = folder.0.join("kept");
    fs::rename(folder.file(), &kept).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.file()).unwrap();
    (0..7).for_each(|number| audit.record(event(number)));
    audit.finish();
    fs::remove_file(folder.file()).unwrap();
    fs::rename(&kept, folder.file()).unwrap();
    audit.record(event(2));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    let verified = verify(&sealer, &[&text]).unwrap();
    assert_eq!((verified.lines, verified.missing), (2, 7), "{text}");
}

#[test]
fn a_flood_by_strangers_is_a_few_lines_that_say_how_many_there_were() {
    let (folder, sealer) = (Folder::new(), sealer());
    let audit = audit(&folder.file(), &sealer);
    for _ in 0..1000 {
        audit.record(Event::new(Kind::TokenRejected, Outcome::Refused).text(Field::Reason, "forged"));
    }
    audit.record(Event::new(Kind::GrantRefused, Outcome::Refused));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    let verified = verify(&sealer, &[&text]).unwrap();
    assert!((61..70).contains(&verified.lines), "{}", verified.lines);
    assert_eq!(verified.missing, 0, "they are not lost but left out");
    assert!(text.lines().last().unwrap().contains("grant-refused"), "each kind for itself");
}

#[test]
fn lines_under_a_key_that_left_the_ring_are_proven_by_the_next_one_under_one_that_is_there() {
    let (folder, now) = (Folder::new(), Timestamp::from_unix(1_700_000_000));
    let ring = folder.0.join("keys.json");
    let load = || KeyRing::load(&ring).unwrap();
    KeyRing::create(&ring, now).unwrap();
    let sealer = Sealer::new(load(), "https://mcp.example.com");
    let audit = audit(&folder.file(), &sealer);
    (1..=3).for_each(|number| audit.record(event(number)));
    audit.finish();
    KeyRing::rotate(&ring, now, Duration::ZERO).unwrap();
    KeyRing::rotate(&ring, now, Duration::ZERO).unwrap();
    KeyRing::revoke(&ring, KeyId::new(1), Successor::Next, now).unwrap();
    sealer.replace(load()).unwrap();
    let text = fs::read_to_string(folder.file()).unwrap();
    assert_eq!(broken(&sealer, &text), (1, Why::Unproven(1)));
    audit.record(event(4));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    assert_eq!(verify(&sealer, &[&text]).unwrap().lines, 4);
    // Nobody can tell that the third line was changed but by the fourth.
    assert_eq!(broken(&sealer, &text.replace("\"status\":3", "\"status\":9")), (4, Why::Unlinked));
}

#[test]
fn one_user_has_one_name_that_only_the_ring_can_tell() {
    let (folder, sealer) = (Folder::new(), sealer());
    let audit = audit(&folder.file(), &sealer);
    let subject = Subject::of("8F0C1C5E-0C3D-4B8E-9F59-5A3F1A2B3C4D", "11111111-2222-3333-4444-555555555555");
    audit.record(event(1).who(subject));
    audit.record(
        event(2).who(Subject::of("8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d", "11111111-2222-3333-4444-555555555555")),
    );
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    let name = subject.pseudonym(&sealer.audit_key());
    assert_eq!((name.len(), text.matches(&name).count()), (32, 2), "{text}");
    assert_ne!(subject.pseudonym(&super::tests::sealer().audit_key()), name);
    assert!(!text.contains("11111111") && !format!("{subject:?}").contains('1'));
}

#[test]
fn a_strangers_text_stays_in_its_place_and_secrets_stay_out() {
    let (folder, sealer) = (Folder::new(), sealer());
    let audit = audit(&folder.file(), &sealer);
    audit.record(event(1).text(Field::Tool, "a\",\"mac\":\"b\"}\n{\"seq\":9}\u{202e}"));
    audit.record(event(2).text(Field::Cause, "sp1_at_AAAAAAAAAAAAAAAAAAAAAAAAAAAA and more"));
    audit.record(event(3).text(Field::Tool, &"ä".repeat(5000)));
    audit.finish();
    let text = fs::read_to_string(folder.file()).unwrap();
    assert_eq!(verify(&sealer, &[&text]).unwrap().lines, 3, "{text}");
    assert!(!text.contains("AAAAAAAA") && text.contains("sp1_[redacted] and more"), "{text}");
    assert!(text.lines().all(|line| line.len() < 1024));
}
