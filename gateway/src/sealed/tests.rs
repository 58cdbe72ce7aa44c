use std::hint::black_box;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const ISSUER: &str = "https://mcp.example.com";

fn sealer() -> Sealer {
    Sealer::new(KeyRing::ephemeral(), ISSUER)
}

#[test]
fn opens_only_for_its_own_purpose() {
    let sealer = sealer();
    for sealed_for in Purpose::ALL {
        let text = sealer.seal(sealed_for, &[], &"x");
        for opened_as in Purpose::ALL {
            // Even with the prefix exchanged: the key and the label differ as well.
            let body = text.strip_prefix(sealed_for.prefix()).unwrap();
            let text = format!("{}{body}", opened_as.prefix());
            let opened = sealer.open::<String>(opened_as, &[], &text);
            assert_eq!(opened.is_ok(), sealed_for == opened_as, "{sealed_for:?} as {opened_as:?}");
        }
    }
}

#[test]
fn labels_are_unique_and_ordered_like_the_enum() {
    for (position, purpose) in Purpose::ALL.iter().enumerate() {
        assert_eq!(*purpose as usize, position);
        assert_eq!(Purpose::ALL.iter().filter(|other| other.label() == purpose.label()).count(), 1);
    }
}

#[test]
fn opens_only_in_its_own_context() {
    let sealer = sealer();
    let text = sealer.seal(Purpose::AccessToken, &[b"ab", b"c"], &1u8);
    assert_eq!(sealer.open::<u8>(Purpose::AccessToken, &[b"ab", b"c"], &text), Ok(1));
    for context in [&[b"a".as_slice(), b"bc"][..], &[b"abc"], &[b"ab"], &[]] {
        assert_eq!(sealer.open::<u8>(Purpose::AccessToken, context, &text), Err(OpenError::Forged));
    }
}

#[test]
fn every_altered_bit_and_every_truncation_is_refused() {
    let sealer = sealer();
    let text = sealer.seal(Purpose::AccessToken, &[], &[9u8; 32]);
    let body = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix("sp1_at_").unwrap()).unwrap();
    for bit in 0..body.len() * 8 {
        let mut altered = body.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let altered = format!("sp1_at_{}", BASE64_URL_SAFE_NO_PAD.encode(altered));
        assert!(sealer.open::<[u8; 32]>(Purpose::AccessToken, &[], &altered).is_err(), "bit {bit}");
    }
    for length in 0..text.len() {
        assert!(sealer.open::<[u8; 32]>(Purpose::AccessToken, &[], &text[..length]).is_err(), "{length} characters");
    }
}

/// Whoever alters a token must not learn from the time of the refusal how much of it was right (R19).
#[test]
fn a_forgery_is_refused_in_the_same_time_wherever_it_is_wrong() {
    const TRIES: usize = 2000;
    let sealer = sealer();
    let text = sealer.seal(Purpose::AccessToken, &[b"here"], &[9u8; 32]);
    let body = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix("sp1_at_").unwrap()).unwrap();
    let altered = |byte: usize| {
        let mut altered = body.clone();
        altered[byte] ^= 1;
        format!("sp1_at_{}", BASE64_URL_SAFE_NO_PAD.encode(altered))
    };
    let (nonce, first, last) = (HEADER - 1, HEADER, body.len() - 1);
    let places = [nonce, first, (first + last) / 2, last - 15, last];
    let mut forgeries: Vec<(String, &[u8])> = places.map(|place| (altered(place), &b"here"[..])).into();
    forgeries.push((text.clone(), b"ther"));
    // What shows that a difference would be seen: it is not even asked for its seal.
    forgeries.push((text[..20].to_owned(), b"here"));

    let medians = || {
        let mut times = vec![Vec::with_capacity(TRIES); forgeries.len()];
        // By turns, so that what disturbs the machine disturbs all of them.
        for _ in 0..TRIES {
            for ((forgery, resource), times) in forgeries.iter().zip(&mut times) {
                let begun = Instant::now();
                let opened = sealer.open::<[u8; 32]>(Purpose::AccessToken, &[resource], forgery);
                times.push(begun.elapsed());
                assert!(black_box(opened).is_err());
            }
        }
        times.into_iter().map(|mut times| *times.select_nth_unstable(TRIES / 2).1).collect::<Vec<_>>()
    };
    let spread = |medians: &[Duration]| {
        let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
        most.as_secs_f64() / least.as_secs_f64() - 1.0
    };
    let alike = |medians: &[Duration]| spread(&medians[..forgeries.len() - 1]);
    // A machine with other things to do may need another try; what differs in truth differs in all of them.
    let best = (0..10).map(|_| medians()).min_by(|one, other| alike(one).total_cmp(&alike(other))).unwrap();
    eprintln!("MEASURED R19: medians of {TRIES} refusals each: {best:?}");
    assert!(alike(&best) < 0.05, "{best:?}");
    assert!(spread(&best) > 0.2, "{best:?}");
}

#[test]
fn a_repeatable_seal_is_the_same_text_for_the_same_input_and_no_other() {
    let ours = sealer();
    let replica = || ours.clone();
    let seal = |context: &[&[u8]], value: u32| replica().seal_repeatably(Purpose::RefreshToken, context, &value);
    let text = seal(&[b"client"], 1);
    assert_eq!(text, seal(&[b"client"], 1));
    assert_eq!(replica().open::<u32>(Purpose::RefreshToken, &[b"client"], &text), Ok(1));
    assert_eq!(replica().open::<u32>(Purpose::RefreshToken, &[b"other"], &text), Err(OpenError::Forged));

    // One nonce for two inputs would give both away.
    let nonce = |text: &str| {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix("sp1_rt_").unwrap()).unwrap();
        sealed[HEADER - NONCE..HEADER].to_vec()
    };
    let mut nonces: Vec<_> = (0..1000).map(|generation| nonce(&seal(&[b"client"], generation))).collect();
    nonces.extend([nonce(&seal(&[b"client", b""], 1)), nonce(&seal(&[b"clien", b"t"], 1)), nonce(&seal(&[], 1))]);
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 1003);
    assert_ne!(nonce(&text), nonce(&sealer().seal_repeatably(Purpose::RefreshToken, &[b"client"], &1u32)));
    assert_ne!(text, replica().seal(Purpose::RefreshToken, &[b"client"], &1u32), "the usual seal never repeats");
}

#[test]
fn another_installation_and_another_issuer_are_refused() {
    let text = sealer().seal(Purpose::Client, &[], &1u8);
    assert!(sealer().open::<u8>(Purpose::Client, &[], &text).is_err());
    let ours = sealer();
    let theirs = Sealer { issuer: "https://b.example".into(), ..ours.clone() };
    let text = ours.seal(Purpose::Client, &[], &1u8);
    assert_eq!(theirs.open::<u8>(Purpose::Client, &[], &text), Err(OpenError::Forged));
}

#[test]
fn a_record_needs_its_name_and_its_secret() {
    let sealer = sealer();
    let secret = SecretKey::random();
    let sealed = sealer.seal_record("a:1", &secret, &5u8);
    assert_eq!(sealer.open_record::<u8>("a:1", &secret, &sealed), Ok(5));
    assert_eq!(sealer.open_record::<u8>("a:2", &secret, &sealed), Err(OpenError::Forged));
    assert_eq!(sealer.open_record::<u8>("a:1", &SecretKey::random(), &sealed), Err(OpenError::Forged));
}

#[test]
fn an_id_survives_the_url_and_is_hidden_in_the_store() {
    let sealer = sealer();
    let id = sealer.new_id();
    assert_eq!(Id::from_text(&id.to_text()), Some(id));
    assert_ne!(sealer.index(&id).unwrap().0, id.random);
    assert_eq!(self::sealer().index(&Id { key: KeyId::new(9), ..id }), None);
}

proptest! {
    #[test]
    fn hostile_text_never_opens_and_never_panics(text in "\\PC*") {
        let sealer = sealer();
        for purpose in Purpose::ALL {
            let prefixed = format!("{}{text}", purpose.prefix());
            prop_assert!(sealer.open::<String>(purpose, &[], &prefixed).is_err());
        }
        prop_assert!(sealer.open_record::<u8>("x", &SecretKey::random(), text.as_bytes()).is_err());
    }
}

fn ring(keys: &[(u8, KeyState)]) -> KeyRing {
    let keys = keys.iter().map(|(id, state)| {
        let key = BASE64_URL_SAFE_NO_PAD.encode([*id; 32]);
        serde_json::json!({ "id": id, "created": 0, "state": state, "key": key })
    });
    let ring = serde_json::json!({ "version": 1, "keys": keys.collect::<Vec<_>>() });
    KeyRing::parse(&ring.to_string()).unwrap()
}

fn counted(ring: KeyRing) -> (Sealer, IntCounterVec) {
    let seals = IntCounterVec::new(Opts::new("seals", "For a test."), &["key"]).unwrap();
    (Sealer::counting(ring, ISSUER, seals.clone()), seals)
}

#[test]
fn a_replaced_ring_counts_for_all_clones_and_seals_are_counted_by_key() {
    let (sealer, seals) = counted(ring(&[(1, KeyState::Active)]));
    let clone = sealer.clone();
    let text = clone.seal(Purpose::Client, &[], &1u8);
    clone.seal_repeatably(Purpose::Client, &[], &1u8);
    let record = clone.seal_record("a", &SecretKey::new([0; 32]), &1u8);
    let id = clone.new_id();
    sealer.replace(ring(&[(1, KeyState::OpenOnly), (2, KeyState::Active)])).unwrap();
    assert_eq!(clone.open::<u8>(Purpose::Client, &[], &text), Ok(1));
    clone.seal(Purpose::Client, &[], &1u8);
    let count = |key| seals.with_label_values(&[key]).get();
    assert_eq!((count("1"), count("2")), (3, 1));

    sealer.replace(ring(&[(1, KeyState::Revoked), (2, KeyState::Active)])).unwrap();
    assert_eq!(clone.open::<u8>(Purpose::Client, &[], &text), Err(OpenError::UnknownKey));
    let opened = clone.open_record::<u8>("a", &SecretKey::new([0; 32]), &record);
    assert_eq!(opened, Err(OpenError::UnknownKey));
    assert_eq!(clone.index(&id), None);

    assert!(matches!(sealer.replace(KeyRing::ephemeral()), Err(KeyRingError::Foreign(_))));
    assert!(clone.open::<u8>(Purpose::Client, &[], &clone.seal(Purpose::Client, &[], &1u8)).is_ok());
}

/// Two replicas whose files change at different times, and threads that never stop: in two steps nothing is ever refused.
#[test]
fn a_rotation_in_two_steps_never_leaves_a_replica_behind() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let steps = || {
        [
            ring(&[(1, KeyState::Active)]),
            ring(&[(1, KeyState::Active), (2, KeyState::Next)]),
            ring(&[(1, KeyState::OpenOnly), (2, KeyState::Active)]),
        ]
    };
    let replicas = [(); 2].map(|()| counted(ring(&[(1, KeyState::Active)])).0);
    let (over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (over, opened, replicas) = (&over, &opened, &replicas);
            scope.spawn(move || {
                let (seals, opens) = (&replicas[number % 2], &replicas[(number + 1) % 2]);
                while !over.load(Ordering::Relaxed) {
                    let text = seals.seal(Purpose::AccessToken, &[b"r"], &number);
                    assert_eq!(opens.open::<usize>(Purpose::AccessToken, &[b"r"], &text), Ok(number));
                    let (id, secret) = (seals.new_id(), SecretKey::random());
                    let record = seals.seal_record("a", &secret, &number);
                    assert_eq!(opens.index(&id), seals.index(&id));
                    assert_eq!(opens.open_record::<usize>("a", &secret, &record), Ok(number));
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for step in 0..3 {
            for replica in &replicas {
                let before = opened.load(Ordering::Relaxed);
                replica.replace(steps().into_iter().nth(step).unwrap()).unwrap();
                while opened.load(Ordering::Relaxed) < before + 100 {
                    std::thread::yield_now();
                }
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}
