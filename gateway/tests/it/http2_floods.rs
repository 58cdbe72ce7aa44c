//! HTTP/2 that is made to cost: more streams than allowed, headers without an end, headers that are small only on the wire (T33).

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::http2_client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, Http2Client, Http2Connection, RESET, field, frame,
    kept_field,
};

/// RFC 9113 section 7.
const REFUSED_STREAM: u32 = 7;
/// What a frame may have unless settings say otherwise.
const LARGEST: usize = 16_384;
/// The newest entry of HPACK's dynamic table, as a field: RFC 7541 sections 2.3.3 and 6.1.
const NEWEST: u8 = 0x80 | 62;

async fn gateway() -> Gateway {
    Gateway::start_with(Options { tls: true, ..Options::simple("http://127.0.0.1:9") }).await
}

/// On a thread of its own: what is written here waits for nobody.
async fn attack<T: Send + 'static>(
    gateway: &Gateway,
    how: impl FnOnce(Http2Connection, Vec<u8>) -> T + Send + 'static,
) -> T {
    let client = Http2Client::new(gateway);
    let under_way = move || {
        let (connection, preface) = client.connect();
        how(connection, preface)
    };
    tokio::task::spawn_blocking(under_way).await.unwrap()
}

fn header(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":method", method), (":scheme", "https"), (":path", path), (":authority", "localhost")] {
        field(&mut block, name, value);
    }
    block
}

fn get_metadata() -> Vec<u8> {
    header("GET", "/.well-known/oauth-authorization-server")
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_though_the_client_does_not_wait() {
    let gateway = gateway().await;
    let refused = attack(&gateway, |mut connection, mut sent| {
        // Whose body is waited for.
        let mut post_token = header("POST", "/token");
        field(&mut post_token, "content-type", "application/x-www-form-urlencoded");
        for number in 0..120 {
            frame(&mut sent, HEADERS, END_HEADERS, 2 * number + 1, &post_token);
        }
        connection.write(&sent).unwrap();
        let mut refused = Vec::new();
        while refused.len() < 20 {
            let next = connection.next().expect("the connection goes on");
            if next.stream != 0 {
                assert_eq!(next.kind, RESET, "nobody is answered without a body");
                assert_eq!(u32::from_be_bytes(next.payload.try_into().unwrap()), REFUSED_STREAM);
                refused.push(next.stream);
            }
        }
        refused
    })
    .await;
    assert_eq!(refused, (100..120).map(|number| 2 * number + 1).collect::<Vec<u32>>());
}

#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    let gateway = gateway().await;
    let sent = attack(&gateway, |mut connection, mut begun| {
        frame(&mut begun, HEADERS, 0, 1, &get_metadata());
        connection.write(&begun).unwrap();
        let (mut block, mut more) = (Vec::new(), Vec::new());
        field(&mut block, "a", &"x".repeat(LARGEST - 8));
        frame(&mut more, CONTINUATION, 0, 1, &block);
        (0..4_000).take_while(|_| connection.write(&more).is_ok()).count()
    })
    .await;
    // What is in buffers of the kernel when it ends is no more than some megabytes.
    assert!(sent < 1_000, "{sent} frames of 16 KiB were taken");
    assert_eq!(http_client().get(gateway.admin_url("/healthz")).send().await.unwrap().status(), 200);
}

/// RFC 7541 section 7.3: some kilobytes that unpack to megabytes.
#[tokio::test]
async fn headers_that_unpack_to_megabytes_are_not_unpacked() {
    let gateway = gateway().await;
    let first = |references: usize| {
        move |mut connection: Http2Connection, mut sent: Vec<u8>| {
            let mut block = get_metadata();
            kept_field(&mut block, "a", &"x".repeat(4_000));
            block.extend(vec![NEWEST; references]);
            frame(&mut sent, HEADERS, END_HEADERS | END_STREAM, 1, &block);
            connection.write(&sent).unwrap();
            let mut frames = std::iter::from_fn(|| connection.next());
            frames.find(|next| [DATA, RESET, GO_AWAY].contains(&next.kind) || next.flags & END_STREAM != 0)
        }
    };
    let kind = async |references| attack(&gateway, first(references)).await.map(|next| next.kind);
    assert_eq!(kind(1).await, Some(DATA), "a large header is answered");
    assert_eq!(kind(8_000).await, Some(GO_AWAY), "32 MB of them end the connection");
}
