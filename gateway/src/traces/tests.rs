//! What holds whatever a collector does.

use std::io::Read;
use std::net::TcpListener;
use std::time::Instant;

use prometheus::IntCounter;

use super::trace::Request;
use super::*;

fn counts() -> Counts {
    let counter = |name: &str| IntCounter::new(name, name).unwrap();
    Counts { exported: counter("exported"), dropped: counter("dropped"), failed: counter("failed") }
}

fn start(endpoint: &str, counts: Counts) -> Traces {
    // Another test may have chosen it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = Settings { endpoint: endpoint.parse().unwrap(), sample_percent: 100, continue_from: Vec::new() };
    Traces::start(settings, &PublicUrl::parse("https://mcp.example.com").unwrap(), counts).unwrap()
}

fn request() -> Request {
    Request {
        ended: Instant::now(),
        method: "POST",
        path: Some("/mcp".to_owned()),
        version: "1.1",
        status: 200,
        request_id: "0".to_owned(),
        reason: None,
        code: None,
        error: None,
        upstream: None,
        streamed: false,
        admission: None,
    }
}

/// A collector that takes a connection, reads, and says nothing.
#[test]
fn a_collector_that_hangs_costs_traces_and_no_time() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (asked, is_asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut bytes = [0; 1024];
        while connection.read(&mut bytes).is_ok_and(|length| length > 0) {
            // Who has seen enough has gone.
            let _ = asked.send(());
        }
    });
    let counts = counts();
    let traces = start(&endpoint, counts.clone());
    let one_more = || traces.begin(None, &HeaderMap::new()).end(request);
    one_more();
    is_asked.recv_timeout(Duration::from_secs(20)).unwrap();
    // From here on nothing leaves the queue for some seconds.
    let begun = Instant::now();
    (0..QUEUE + 100).for_each(|_| one_more());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!((counts.dropped.get(), counts.exported.get()), (100, 0));
    let begun = Instant::now();
    traces.finish();
    assert!(begun.elapsed() < LAST + Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn who_is_not_kept_notes_nothing_and_is_a_trace_all_the_same() {
    let counts = counts();
    let traces = start("http://127.0.0.1:9", counts.clone());
    let mut headers = HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    headers.insert("traceparent", parent.parse().unwrap());
    let Traces(shared) = traces;
    let shared = Arc::into_inner(shared).unwrap();
    let traces = Traces(Arc::new(Shared { continue_from: vec!["192.0.2.0/24".parse().unwrap()], ..shared }));
    let of = |peer: &str| traces.begin(Some(peer.parse().unwrap()), &headers);
    let continued = of("::ffff:192.0.2.7");
    assert!(continued.is_continued() && !continued.sampled);
    let passed_on = continued.exchange("127.0.0.1:80".parse().unwrap());
    assert!(passed_on.to_str().unwrap().starts_with(&parent[..36]), "{passed_on:?}");
    assert!(passed_on != parent && passed_on.to_str().unwrap().ends_with("-00"), "{passed_on:?}");
    continued.end(|| unreachable!("nobody asks what became of it"));
    let linked = of("192.0.3.7");
    assert!(!linked.is_continued() && linked.sampled && linked.id() != TraceId::of(&headers).unwrap());
    assert!(!traces.begin(None, &headers).is_continued(), "nobody knows who it is");
    assert_eq!(counts.dropped.get(), 0);
}
