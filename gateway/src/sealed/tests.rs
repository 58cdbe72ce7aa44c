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

#[test]
fn a_repeatable_seal_is_the_same_text_for_the_same_input_and_no_other() {
    let ring = Arc::new(KeyRing::ephemeral());
    let replica = || Sealer { ring: ring.clone(), issuer: ISSUER.into() };
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
    let ring = Arc::new(KeyRing::ephemeral());
    let ours = Sealer { ring: ring.clone(), issuer: "https://a.example".into() };
    let theirs = Sealer { ring, issuer: "https://b.example".into() };
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
