use super::*;
use crate::browser::{ApprovedClients, Label};
use crate::sealed::KeyRing;

struct Browser {
    clock: Clock,
    cookies: Cookies,
    held: Vec<(String, String)>,
}

impl Browser {
    fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_unix(1_000_000));
        let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        Self { cookies: Cookies::new(sealer, clock.clone()), clock, held: Vec::new() }
    }

    fn take(&mut self, header: HeaderValue) {
        let cookie = Cookie::parse(header.to_str().unwrap().to_owned()).unwrap();
        self.held.retain(|(name, _)| name != cookie.name());
        if cookie.max_age() != Some(cookie::time::Duration::ZERO) {
            self.held.push((cookie.name().to_owned(), cookie.value().to_owned()));
        }
    }

    fn header(&self) -> String {
        self.held.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn jar(&self) -> Jar {
        jar(&self.header())
    }
}

fn jar(header: &str) -> Jar {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, header.parse().unwrap());
    Jar::of(&headers)
}

#[test]
fn every_cookie_has_the_attributes_of_the_contract() {
    let browser = Browser::new();
    let transaction = Transaction::random();
    let header = browser.cookies.set_for(&ConsentState { transaction });
    let (pair, attributes) = header.to_str().unwrap().split_once("; ").unwrap();
    assert!(pair.starts_with(&format!("__Host-MCP_CONSENT_STATE-{}=", transaction.suffix())));
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=900");
    let header = browser.cookies.clear_for::<ConsentState>(transaction);
    let name = format!("__Host-MCP_CONSENT_STATE-{}", transaction.suffix());
    assert_eq!(header, format!("{name}=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0"));
}

#[test]
fn a_cookie_opens_under_its_own_name_only() {
    let mut browser = Browser::new();
    let transaction = Transaction::random();
    browser.take(browser.cookies.set_for(&ConsentState { transaction }));
    assert!(browser.cookies.get_for::<ConsentState>(&browser.jar(), transaction).is_some());
    let (name, value) = &browser.held[0];
    for renamed in [name.replace("CONSENT_STATE", "CSRF_TOKEN"), format!("{}-00000000", ConsentState::NAME)] {
        let jar = jar(&format!("{renamed}={value}"));
        assert_eq!(browser.cookies.all::<ConsentState>(&jar).count(), 0);
        assert_eq!(browser.cookies.all::<CsrfToken>(&jar).count(), 0);
    }
    for bit in 0..8 {
        let mut bytes = value.clone().into_bytes();
        let last = bytes.len() - 3;
        bytes[last] ^= 1 << bit;
        if let Ok(Ok(flipped)) = String::from_utf8(bytes).map(|value| HeaderValue::try_from(format!("{name}={value}")))
        {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, flipped);
            assert!(browser.cookies.get_for::<ConsentState>(&Jar::of(&headers), transaction).is_none());
        }
    }
}

#[test]
fn another_transaction_with_the_same_suffix_is_another_transaction() {
    let mut browser = Browser::new();
    let transaction: Transaction = postcard::from_bytes(&[7; 16]).unwrap();
    let mut bytes = [7; 16];
    bytes[15] = 8;
    let twin: Transaction = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(transaction.suffix(), twin.suffix());
    browser.take(browser.cookies.set_for(&ConsentState { transaction }));
    assert!(browser.cookies.get_for::<ConsentState>(&browser.jar(), twin).is_none());
}

#[test]
fn a_cookie_ends_even_if_the_browser_keeps_it() {
    let mut browser = Browser::new();
    let transaction = Transaction::random();
    browser.take(browser.cookies.set_for(&ConsentState { transaction }));
    browser.clock.advance(ConsentState::LIFETIME);
    assert!(browser.cookies.get_for::<ConsentState>(&browser.jar(), transaction).is_none());
}

#[test]
fn a_name_that_is_there_twice_counts_as_absent() {
    let mut browser = Browser::new();
    let transaction = Transaction::random();
    browser.take(browser.cookies.set_for(&ConsentState { transaction }));
    let (name, value) = browser.held[0].clone();
    for header in [format!("{name}={value}; {name}={value}"), format!("{name}=x; a=b; {name}={value}")] {
        assert!(browser.cookies.get_for::<ConsentState>(&jar(&header), transaction).is_none());
    }
}

#[test]
fn fifty_reloads_keep_the_header_bounded() {
    let mut browser = Browser::new();
    let longest = Label::new(&"x".repeat(99), &"x".repeat(99));
    let mut approved = ApprovedClients::default();
    (0..200).for_each(|number| approved.add([number; 32], longest.clone(), browser.clock.now()));
    browser.take(browser.cookies.set(&approved));
    let mut transaction = Transaction::random();
    for _ in 0..50 {
        browser.clock.advance(Duration::from_secs(1));
        transaction = Transaction::random();
        for header in browser.cookies.make_room(&browser.jar(), transaction) {
            browser.take(header);
        }
        browser.take(browser.cookies.set_for(&ConsentState { transaction }));
        browser.take(browser.cookies.set_for(&CsrfToken { transaction, token: SecretKey::random() }));
    }
    assert_eq!(browser.cookies.all::<ConsentState>(&browser.jar()).count(), OPEN_TRANSACTIONS);
    assert!(browser.cookies.get_for::<ConsentState>(&browser.jar(), transaction).is_some(), "the newest stays");
    // Servers take 8 KiB, ours too.
    assert!(browser.header().len() < 6000, "{} bytes", browser.header().len());
}

#[test]
fn what_does_not_open_makes_room_first() {
    let mut browser = Browser::new();
    for number in 0..OPEN_TRANSACTIONS - 1 {
        browser.clock.advance(Duration::from_secs(number as u64));
        browser.take(browser.cookies.set_for(&ConsentState { transaction: Transaction::random() }));
    }
    browser.held.push(("__Host-MCP_CSRF_TOKEN-ffffffff".into(), "foreign".into()));
    let cleared = browser.cookies.make_room(&browser.jar(), Transaction::random());
    assert_eq!(cleared.len(), 1);
    assert!(cleared[0].to_str().unwrap().starts_with("__Host-MCP_CSRF_TOKEN-ffffffff=;"));
}
