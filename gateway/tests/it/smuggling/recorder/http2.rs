//! The same over HTTP/2 without TLS (h2c). Where a request ends is not in doubt there; what is left are fields that would say it
//! otherwise to whoever carries it on over HTTP/1.1, and whose request it is.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};

use super::*;

impl Recorder {
    pub async fn start_http2() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let records = Arc::<Mutex<Records>>::default();
        let (url, all) = (format!("http://{host}"), records.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, host.clone(), all.clone()));
            }
        });
        Self { url, records, task }
    }
}

async fn serve(stream: TcpStream, host: String, records: Arc<Mutex<Records>>) {
    let mut connection = match h2::server::handshake(stream).await {
        Ok(connection) => connection,
        Err(error) => return records.lock().unwrap().doubts.push(format!("no HTTP/2: {error}")),
    };
    while let Some(accepted) = connection.accept().await {
        match accepted {
            Ok((request, respond)) => drop(tokio::spawn(answer(request, respond, host.clone(), records.clone()))),
            // The other side has gone.
            Err(error) if error.is_io() || error.is_go_away() => return,
            Err(error) => return records.lock().unwrap().doubts.push(format!("a connection in disorder: {error}")),
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    host: String,
    records: Arc<Mutex<Records>>,
) {
    let (parts, mut receiver) = request.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = receiver.data().await {
        // It was taken back, and so not served.
        let Ok(piece) = piece else { return };
        body.extend_from_slice(&piece);
        receiver.flow_control().release_capacity(piece.len()).unwrap();
    }
    let Ok(trailers) = receiver.trailers().await else { return };
    let all = |name: &str| -> Vec<_> {
        let values = parts.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    let doubts = [
        (trailers.is_some(), "trailers"),
        (parts.uri.authority().map(|authority| authority.as_str()) != Some(&host), "another authority"),
        (all("host").iter().any(|other| *other != host), "another host"),
        (all("authorization").len() != 1, "not one authorization"),
        (HOP_BY_HOP.iter().any(|name| parts.headers.contains_key(*name)), "a field of HTTP/1.1's"),
        (all("te").iter().any(|te| te != "trailers"), "a strange TE"),
        (!matches!(&all("content-length")[..], [] | [_]), "two lengths"),
        (all("content-length").first().is_some_and(|length| *length != body.len().to_string()), "another length"),
    ];
    let doubt = doubts.into_iter().find_map(|(found, doubt)| found.then_some(doubt));
    let (Ok(body), None) = (String::from_utf8(body), doubt) else {
        return records.lock().unwrap().doubts.push(format!("{doubt:?} in {parts:?}"));
    };
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
    let (method, case) = (parts.method.to_string(), all("x-case").join("|"));
    let answer = Response::builder().header("content-length", body.len()).body(()).unwrap();
    let is_empty = body.is_empty() || method == "HEAD";
    let data = Bytes::from(body.clone());
    records.lock().unwrap().seen.push(Seen {
        case,
        method,
        target,
        authorization: all("authorization").concat(),
        body,
    });
    // Whoever has gone by now is told nothing.
    if let Ok(mut sender) = respond.send_response(answer, is_empty)
        && !is_empty
    {
        let _ = sender.send_data(data, true);
    }
}

const HOP_BY_HOP: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
