//! Event streams: delays, silence, and cuts.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use loadtest::failure::Failure;
use loadtest::progress::Progress;
use loadtest::streams::Streams;
use loadtest::target::Target;
use loadtest::upstream::Upstream;
use loadtest::verdict::Void;
use loadtest::work::{Expected, Work};

use crate::support::{serve, target};

const SETTINGS: Streams = Streams {
    streams: 20,
    opened_per_second: 200.0,
    hold: Duration::from_millis(700),
    patience: Duration::from_secs(5),
};

async fn run(target: &Target) -> loadtest::streams::Seen {
    let expected = Expected { status: StatusCode::OK, text: None };
    let work = Work::new(target, HeaderMap::new(), None, expected).into();
    let mut held = 0;
    let seen = SETTINGS.run(target, &work, &Progress::hidden(), || held += 1).await;
    assert_eq!(held, 1, "there is one moment to look at the target's memory");
    seen
}

#[tokio::test]
async fn events_are_counted_with_their_delay() {
    let upstream = Upstream { answer_bytes: 100, event_interval: Some(Duration::from_millis(50)) };
    let bound = upstream.bind(0).await.unwrap();
    let target = format!("http://{}/sse", bound.address().unwrap()).parse().unwrap();
    tokio::spawn(bound.serve());
    let seen = run(&target).await;
    assert_eq!(seen.voids(), []);
    assert_eq!((seen.opened, seen.cut), (20, 0));
    let delays = seen.latencies.unwrap();
    // The first event of each stream names the address for messages, and no time.
    assert_eq!(delays.len(), seen.events - 20);
    assert!(delays.len() > 100, "{} events", delays.len());
    assert_eq!(seen.opening.unwrap().len(), 20);
}

#[tokio::test]
async fn a_cut_stream_voids() {
    let short = || async {
        let parts = stream::iter([Ok::<_, std::io::Error>(": keep-alive\n\ndata: x\n\n")]);
        ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(parts)).into_response()
    };
    let seen = run(&serve(Router::new().route("/mcp", get(short))).await).await;
    assert_eq!((seen.events, seen.heartbeats), (20, 20));
    assert_eq!(seen.voids(), [Void::StreamsCut { count: 20 }]);
    assert!(seen.latencies.is_none(), "no event said when it was sent");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_cut_too() {
    let broken = || async {
        let parts = stream::iter([Ok("data: x\n\n"), Err(std::io::Error::other("broken"))]).then(|part| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            part
        });
        ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(parts)).into_response()
    };
    let seen = run(&serve(Router::new().route("/mcp", get(broken))).await).await;
    assert_eq!((seen.opened, seen.cut), (20, 20));
}

#[tokio::test]
async fn what_is_no_stream_is_refused() {
    let seen = run(&target(|_| (Duration::ZERO, StatusCode::OK)).await).await;
    assert_eq!(seen.voids(), [Void::Failed { failure: Failure::Content("event stream"), count: 20 }, Void::NoAnswers]);
    let seen = run(&target(|_| (Duration::ZERO, StatusCode::TOO_MANY_REQUESTS)).await).await;
    assert!(seen.voids().contains(&Void::Failed { failure: Failure::Status { got: 429, expected: 200 }, count: 20 }));
}
