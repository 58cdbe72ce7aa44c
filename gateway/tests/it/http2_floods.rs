//! HTTP/2 that is made to cost: more streams than allowed, headers without an end, headers that are small only on the wire (T33).

use std::io::ErrorKind;

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::http2_client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GO_AWAY, HEADERS, Http2Client, Http2Connection, RESET, field,
    frame, kept_field,
};

/// RFC 9113 section 7.
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;
/// `http2_streams` of the gateway here, which is not the library's own limit.
const STREAMS: u32 = 30;
/// What a frame may have unless settings say otherwise.
const LARGEST: usize = 16_384;
/// The newest entry of HPACK's dynamic table, as a field: RFC 7541 sections 2.3.3 and 6.1.
const NEWEST: u8 = 0x80 | 62;

async fn gateway() -> Gateway {
    let mut options = Options { tls: true, ..Options::simple("http://127.0.0.1:9") };
    options.connections.http2_streams = STREAMS;
    Gateway::start_with(options).await
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

fn header(gateway: &Gateway, method: &str, path: &str) -> Vec<u8> {
    let (mut block, authority) = (Vec::new(), format!("localhost:{}", gateway.port));
    for (name, value) in [(":method", method), (":scheme", "https"), (":path", path), (":authority", &authority)] {
        field(&mut block, name, value);
    }
    block
}

fn get_metadata(gateway: &Gateway) -> Vec<u8> {
    header(gateway, "GET", "/.well-known/oauth-authorization-server")
}

fn is_metadata(data: &Frame) -> bool {
    String::from_utf8_lossy(&data.payload).contains("authorization_endpoint")
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_though_the_client_does_not_wait() {
    let gateway = gateway().await;
    // Whose body is waited for.
    let mut post_token = header(&gateway, "POST", "/token");
    field(&mut post_token, "content-type", "application/x-www-form-urlencoded");
    let refused = attack(&gateway, move |mut connection, mut sent| {
        for number in 0..STREAMS + 20 {
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
    assert_eq!(refused, (STREAMS..STREAMS + 20).map(|number| 2 * number + 1).collect::<Vec<u32>>());
}

/// Many that are large, and many that are empty, which costs nobody but the server that waits for their end (CVE-2024-27316).
#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    let gateway = gateway().await;
    let get = get_metadata(&gateway);
    for (length, most) in [(LARGEST - 8, 1_000), (0, 100_000)] {
        let get = get.clone();
        let (sent, error) = attack(&gateway, move |mut connection, mut begun| {
            frame(&mut begun, HEADERS, 0, 1, &get);
            connection.write(&begun).unwrap();
            let (mut block, mut more) = (Vec::new(), Vec::new());
            if length > 0 {
                field(&mut block, "a", &"x".repeat(length));
            }
            frame(&mut more, CONTINUATION, 0, 1, &block);
            let error = (0..4 * most).find_map(|number| Some((number, connection.write(&more).err()?)));
            error.expect("the connection ends")
        })
        .await;
        // What is in buffers of the kernel when it ends is no more than some megabytes.
        assert!(sent < most, "{sent} frames of {length} bytes were taken");
        let ended = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
        assert!(ended.contains(&error.kind()), "it does not only wait: {error:?}");
    }
    let answered = attack(&gateway, move |mut connection, mut sent| {
        frame(&mut sent, HEADERS, END_STREAM, 1, &get);
        frame(&mut sent, CONTINUATION, END_HEADERS, 1, &[]);
        connection.write(&sent).unwrap();
        std::iter::from_fn(|| connection.next()).find(|next| next.kind == DATA)
    });
    assert!(is_metadata(&answered.await.unwrap()), "those with an end are answered");
    assert_eq!(http_client().get(gateway.admin_url("/healthz")).send().await.unwrap().status(), 200);
}

/// RFC 7541 section 7.3: some kilobytes that unpack to megabytes.
#[tokio::test]
async fn headers_that_unpack_to_megabytes_are_not_unpacked() {
    let gateway = gateway().await;
    let first = |references: usize| {
        let mut block = get_metadata(&gateway);
        move |mut connection: Http2Connection, mut sent: Vec<u8>| {
            kept_field(&mut block, "a", &"x".repeat(4_000));
            block.extend(vec![NEWEST; references]);
            frame(&mut sent, HEADERS, END_HEADERS | END_STREAM, 1, &block);
            connection.write(&sent).unwrap();
            let mut frames = std::iter::from_fn(|| connection.next());
            frames.find(|next| [DATA, RESET, GO_AWAY].contains(&next.kind) || next.flags & END_STREAM != 0)
        }
    };
    let answered = attack(&gateway, first(1)).await.unwrap();
    assert!(answered.kind == DATA && is_metadata(&answered), "a large header is answered");
    let ended = attack(&gateway, first(8_000)).await.unwrap();
    assert_eq!(ended.kind, GO_AWAY, "32 MB of them end the connection");
    assert_eq!(u32::from_be_bytes(ended.payload[4..8].try_into().unwrap()), ENHANCE_YOUR_CALM);
}
