//! The guard against being sent somewhere (T19), with a TLS server on loopback in the Internet's place.

use std::net::IpAddr;
use std::time::Instant;

use super::*;
use crate::oauth::tests::publisher::{Answer, HOST, Publisher};

const REDIRECT_URI: &str = "https://client.example/cb";
const STRANGER: Asker = Asker::Stranger(SourceAddress::UNKNOWN);

fn stranger(last: u8) -> Asker {
    Asker::Stranger(SourceAddress::new([192, 0, 2, last].into()))
}

fn at(publisher: &Publisher, may_connect: fn(IpAddr) -> bool) -> (Documents, Clock) {
    // An error says that another test of this process was first.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let look_up = publisher.look_up();
    let resolver: Resolver = Arc::new(move |_| {
        let addresses = look_up();
        Box::pin(async move { Ok(addresses) })
    });
    let settings = DocumentSettings {
        hosts: vec![DocumentHost::parse(&format!("{HOST}:{}", publisher.port)).unwrap()],
        network: Network { resolver, may_connect, extra_root: Some(publisher.root.clone()) },
    };
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    (
        Documents::new(&settings, &[], PublicUrl::parse("https://mcp.example.com").unwrap(), clock.clone()).unwrap(),
        clock,
    )
}

fn loopback(address: IpAddr) -> bool {
    address == IpAddr::from([127, 0, 0, 1])
}

fn is_bad(found: Result<Client, NoClient>) -> bool {
    matches!(found, Err(NoClient::BadDocument(_)))
}

fn has_no_answer(found: Result<Client, NoClient>) -> bool {
    matches!(found, Err(NoClient::Unavailable(_)))
}

#[tokio::test]
async fn a_document_is_fetched_once_and_kept() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    for _ in 0..3 {
        assert_eq!(documents.find(&url, STRANGER).await.unwrap().name.to_string(), "A client");
    }
    assert_eq!((publisher.requests("/m.json"), publisher.lookups()), (1, 1));
    clock.advance(FRESH_AT_LEAST);
    documents.find(&url, STRANGER).await.unwrap();
    assert_eq!(publisher.requests("/m.json"), 2, "without a word of its own it is good for five minutes");
}

#[tokio::test]
async fn headers_prolong_a_document_to_a_day_at_most() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    let document = serde_json::json!({ "client_id": url, "client_name": "A", "redirect_uris": [REDIRECT_URI] });
    let headers = "content-type: application/json\r\ncache-control: public, max-age=31536000\r\n";
    publisher.publish("/m.json", Answer::new("200 OK", headers, document.to_string()));
    documents.find(&url, STRANGER).await.unwrap();
    clock.advance(FRESH_AT_MOST - Duration::from_secs(1));
    documents.find(&url, STRANGER).await.unwrap();
    assert_eq!(publisher.requests("/m.json"), 1);
    clock.advance(Duration::from_secs(1));
    documents.find(&url, STRANGER).await.unwrap();
    assert_eq!(publisher.requests("/m.json"), 2);
}

#[tokio::test]
async fn of_fifty_at_once_one_fetches() {
    let publisher = Publisher::start();
    let (documents, _) = at(&publisher, loopback);
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    let found = futures_util::future::join_all((0..50).map(|_| documents.find(&url, STRANGER))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(publisher.requests("/m.json"), 1);
    let missing = publisher.url("/missing");
    let found = futures_util::future::join_all((0..50).map(|_| documents.find(&missing, STRANGER))).await;
    assert!(found.into_iter().all(is_bad));
    assert_eq!(publisher.requests("/missing"), 1, "nor is a failure repeated fifty times");
    assert!(documents.cache().flights.len() <= 1, "who has flown is forgotten");
}

#[tokio::test]
async fn a_refusal_is_kept_for_a_minute() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    assert!(is_bad(documents.find(&publisher.url("/m.json"), STRANGER).await));
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    assert!(is_bad(documents.find(&url, STRANGER).await));
    clock.advance(REFUSED_FOR);
    assert!(documents.find(&url, STRANGER).await.is_ok());
}

/// Whoever is signed in stays so while the publisher is down; what it has withdrawn is gone at once.
#[tokio::test]
async fn a_document_outlives_an_outage_but_not_its_withdrawal() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    documents.find(&url, STRANGER).await.unwrap();
    publisher.publish("/m.json", Answer::new("503 Service Unavailable", "", ""));
    clock.advance(FRESH_AT_LEAST);
    assert!(documents.find(&url, STRANGER).await.is_ok() && documents.find(&url, STRANGER).await.is_ok());
    assert_eq!(publisher.requests("/m.json"), 2, "it is asked again after a minute only");
    clock.advance(FRESH_AT_MOST);
    assert!(has_no_answer(documents.find(&url, STRANGER).await), "a day is enough");

    publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    clock.advance(REFUSED_FOR);
    documents.find(&url, STRANGER).await.unwrap();
    publisher.publish("/m.json", Answer::new("410 Gone", "", ""));
    clock.advance(FRESH_AT_LEAST);
    assert!(is_bad(documents.find(&url, STRANGER).await));
    clock.advance(REFUSED_FOR);
    publisher.publish("/m.json", Answer::new("503 Service Unavailable", "", ""));
    assert!(has_no_answer(documents.find(&url, STRANGER).await), "the old one does not come back");
}

/// Each of more than 150 addresses, alone and behind a public one: nobody is connected to.
#[tokio::test]
async fn a_name_that_leads_to_a_reserved_address_leads_nowhere() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, address::is_public);
    publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    let corpus = address::tests::corpus();
    assert!(corpus.contains(&IpAddr::from([127, 0, 0, 1])), "where the publisher listens");
    for (number, address) in corpus.into_iter().enumerate() {
        for (order, addresses) in
            [&[address][..], &[IpAddr::from([8, 8, 8, 8]), address], &[address, IpAddr::from([8, 8, 8, 8])]]
                .into_iter()
                .enumerate()
        {
            clock.advance(Duration::from_secs(60));
            publisher.move_to(addresses);
            let found = documents.find(&publisher.url(&format!("/{number}-{order}")), STRANGER).await;
            assert!(is_bad(found), "{addresses:?}");
        }
    }
    assert_eq!(publisher.connections(), 0);
    publisher.move_to(&[]);
    assert!(has_no_answer(documents.find(&publisher.url("/nowhere"), STRANGER).await));
}

/// DNS rebinding: the second answer never matters, for there is no second question.
#[tokio::test]
async fn a_name_is_resolved_once_for_each_fetch() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    documents.find(&url, STRANGER).await.unwrap();
    assert_eq!((publisher.lookups(), publisher.connections()), (1, 1));
    publisher.move_to(&[IpAddr::from([127, 0, 0, 2])]);
    clock.advance(FRESH_AT_LEAST);
    assert!(is_bad(documents.find(&url, STRANGER).await), "the new address is judged anew");
    assert_eq!((publisher.lookups(), publisher.connections()), (2, 1), "and no old connection is used");
}

#[tokio::test]
async fn a_redirect_is_no_document() {
    let publisher = Publisher::start();
    let (documents, _) = at(&publisher, loopback);
    let target = publisher.publish_client("/target", "A client", &[REDIRECT_URI]);
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let path = format!("/{}", &status[..3]);
        publisher.publish(&path, Answer::new(status, &format!("location: {target}\r\n"), ""));
        assert!(is_bad(documents.find(&publisher.url(&path), STRANGER).await), "{status}");
    }
    assert_eq!(publisher.requests("/target"), 0);
}

#[tokio::test]
async fn only_200_and_json_of_at_most_5_kib_is_a_document() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    let json = "content-type: application/json\r\n";
    let document = |path: &str, padding: usize| {
        let name = "x".repeat(padding);
        let url = publisher.url(path);
        format!(r#"{{"client_id":"{url}","client_name":"{name}","redirect_uris":["{REDIRECT_URI}"]}}"#)
    };
    let fitting = document("/fits", 5 * 1024 - document("/fits", 0).len());
    publisher.publish("/fits", Answer::new("200 OK", json, fitting));
    assert!(documents.find(&publisher.url("/fits"), STRANGER).await.is_ok());
    let chunked = |body: String| Answer {
        head: format!("HTTP/1.1 200 OK\r\n{json}transfer-encoding: chunked\r\n\r\n"),
        ..Answer::new("", "", format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
    };
    publisher.publish("/chunked", chunked(document("/chunked", 1)));
    assert!(documents.find(&publisher.url("/chunked"), STRANGER).await.is_ok());
    for (path, answer) in [
        ("/6k", Answer::new("200 OK", json, document("/6k", 6 * 1024))),
        ("/6k-chunked", chunked(document("/6k-chunked", 6 * 1024))),
        ("/html", Answer::new("200 OK", "content-type: text/html\r\n", document("/html", 1))),
        ("/none", Answer::new("200 OK", "", document("/none", 1))),
        ("/other", Answer::new("200 OK", json, document("/another", 1))),
        ("/created", Answer::new("201 Created", json, document("/created", 1))),
        ("/gone", Answer::new("404 Not Found", json, document("/gone", 1))),
        ("/empty", Answer::new("200 OK", json, "")),
        ("/gzip", Answer::new("200 OK", &format!("{json}content-encoding: gzip\r\n"), "\u{1f}\u{8b}")),
    ] {
        clock.advance(Duration::from_secs(10));
        publisher.publish(path, answer);
        assert!(is_bad(documents.find(&publisher.url(path), STRANGER).await), "{path}");
    }
    for status in ["500 Oops", "503 Service Unavailable", "429 Too Many Requests", "403 Forbidden"] {
        let path = format!("/{}", &status[..3]);
        publisher.publish(&path, Answer::new(status, json, document(&path, 1)));
        assert!(has_no_answer(documents.find(&publisher.url(&path), STRANGER).await), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drips_or_sleeps_is_left_after_three_seconds() {
    let publisher = Publisher::start();
    let (documents, _) = at(&publisher, loopback);
    let slow = Answer::new("200 OK", "content-type: application/json\r\n", "x".repeat(1000));
    publisher.publish("/drip", Answer { drip: Duration::from_millis(400), ..slow.clone() });
    publisher.publish("/sleep", Answer { delay: Duration::from_secs(8), ..slow });
    let (drip, sleep) = (publisher.url("/drip"), publisher.url("/sleep"));
    let started = Instant::now();
    let (drip, sleep) = tokio::join!(documents.find(&drip, STRANGER), documents.find(&sleep, STRANGER));
    assert!(has_no_answer(drip) && has_no_answer(sleep));
    let took = started.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_certificate_must_be_for_the_very_host() {
    let (publisher, stranger) = (Publisher::start(), Publisher::start());
    let (documents, _) = at(&publisher, loopback);
    let other = DocumentHost::parse(&format!("other.test:{}", publisher.port)).unwrap();
    let documents = Documents { hosts: vec![other], ..documents };
    let url = format!("https://other.test:{}/m.json", publisher.port);
    assert!(has_no_answer(documents.find(&url, STRANGER).await), "the certificate is for another name");
    let (documents, _) = at(&stranger, loopback);
    let documents = Documents { fetcher: at(&publisher, loopback).0.fetcher, ..documents };
    let url = stranger.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    assert!(has_no_answer(documents.find(&url, STRANGER).await), "nobody vouches for the certificate");
    assert_eq!(stranger.requests("/m.json"), 0);
}

#[tokio::test]
async fn nobody_is_asked_about_what_is_no_listed_url() {
    let publisher = Publisher::start();
    let (documents, _) = at(&publisher, loopback);
    for text in [
        "https://client.test/m.json",
        "https://other.test/m.json",
        &publisher.url("/m.json?x"),
        &publisher.url("/a/../m.json"),
        &publisher.url("/m.json").replace("client.test", "client.test@127.0.0.1"),
        &publisher.url("/m.json").replace("client.test", "127.0.0.1"),
    ] {
        assert!(matches!(documents.find(text, STRANGER).await, Err(NoClient::Unknown(_))), "{text}");
    }
    assert_eq!((publisher.lookups(), publisher.connections()), (0, 0));
}

/// Of a host's documents some may be invented by whoever asks: thirty a minute, and twenty for one source.
#[tokio::test]
async fn a_host_is_not_asked_for_more_than_thirty_documents_a_minute() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    for number in 0..40 {
        let found = documents.find(&publisher.url(&format!("/{number}")), stranger(number / 15)).await;
        assert_eq!(has_no_answer(found), number >= 30, "{number}");
    }
    assert_eq!(publisher.connections(), 30);
    clock.advance(Duration::from_secs(60));
    for number in 40..70 {
        let found = documents.find(&publisher.url(&format!("/{number}")), stranger(1)).await;
        assert_eq!(has_no_answer(found), number >= 60, "{number}");
    }
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    assert!(has_no_answer(documents.find(&url, stranger(1)).await));
    assert!(documents.find(&url, stranger(2)).await.is_ok(), "ten are left for the others");
}

/// Who invents ten at once is answered at once for eight of them.
#[tokio::test]
async fn of_ten_at_once_from_one_host_two_are_fetched() {
    let publisher = Publisher::start();
    let (documents, _) = at(&publisher, loopback);
    let urls: Vec<String> = (0..10).map(|number| publisher.url(&format!("/{number}"))).collect();
    let found = futures_util::future::join_all(urls.iter().map(|url| documents.find(url, STRANGER))).await;
    assert_eq!(found.into_iter().filter(|found| matches!(found, Err(NoClient::Unavailable(_)))).count(), 8);
    assert_eq!(publisher.connections(), 2);
}

async fn invent(documents: &Documents, publisher: &Publisher) {
    for number in 0..60 {
        let found = documents.find(&publisher.url(&format!("/invented-{number}")), stranger(number)).await;
        assert_eq!(has_no_answer(found), number >= 30, "{number}");
    }
}

/// T19: whoever invents URLs at a client's host must not keep the client's users from signing in.
#[tokio::test]
async fn invented_urls_take_nothing_from_a_document_that_was_good() {
    let publisher = Publisher::start();
    let (documents, clock) = at(&publisher, loopback);
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    documents.find(&url, STRANGER).await.unwrap();
    clock.advance(FRESH_AT_MOST);
    invent(&documents, &publisher).await;
    assert!(documents.find(&url, stranger(1)).await.is_ok(), "a day later, with nothing left to fall back on");
    assert_eq!(publisher.requests("/m.json"), 2);
}

/// On a replica that has just started nothing is known, but a code or token of ours is as good.
#[tokio::test]
async fn invented_urls_take_nothing_from_who_holds_something_of_ours() {
    let publisher = Publisher::start();
    let (documents, _) = at(&publisher, loopback);
    invent(&documents, &publisher).await;
    let url = publisher.publish_client("/m.json", "A client", &[REDIRECT_URI]);
    assert!(has_no_answer(documents.find(&url, stranger(200)).await));
    assert!(documents.find(&url, Asker::Holder).await.is_ok());
    assert!(documents.find(&url, stranger(200)).await.is_ok(), "and now it is known");
}
