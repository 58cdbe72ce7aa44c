//! Requests that two readers could cut apart differently (request smuggling).

use crate::attack::case::{Case, Outcome, Severity, none_of};
use crate::attack::http::host;
use crate::attack::subject::Subject;

pub fn cases() -> Vec<Case> {
    use Severity::{High, Medium};
    vec![
        Case {
            id: "H1",
            severity: High,
            tried: "lengths that contradict each other",
            source: "RFC 9112 6.3; T25",
            run: |s| Box::pin(lengths(s)),
        },
        Case {
            id: "H2",
            severity: Medium,
            tried: "Content-Length beside Transfer-Encoding, and a request behind it",
            source: "RFC 9112 6.1 (close the connection); T25",
            run: |s| Box::pin(both(s)),
        },
        Case {
            id: "H3",
            severity: Medium,
            tried: "transfer codings that are none, chunks that are none",
            source: "RFC 9112 6.3, 7.1; T25",
            run: |s| Box::pin(codings(s)),
        },
        Case {
            id: "H4",
            severity: Medium,
            tried: "header lines that are none, two hosts, none",
            source: "RFC 9112 3.2, 5.1; T25",
            run: |s| Box::pin(lines(s)),
        },
    ]
}

/// Sends what two readers may disagree on, with a request behind it, and counts answers that take it for good.
async fn taken(s: &Subject, cases: &[(&str, &str, &str)], may_answer_once: bool) -> Outcome {
    let (path, host) = (s.metadata_url.path(), host(&s.metadata_url));
    let behind = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Behind: 1\r\n\r\n");
    let mut found = Vec::new();
    for (name, headers, body) in cases {
        let headers = headers.replace("HOST", host);
        let bytes = format!("POST {path} HTTP/1.1\r\n{headers}\r\n{body}{behind}");
        let read = s.client.raw(&s.metadata_url, bytes.as_bytes()).await?;
        let text = String::from_utf8_lossy(&read).into_owned();
        let statuses: Vec<_> = text
            .match_indices("HTTP/1.1 ")
            .map(|(at, _)| text[at + 9..].chars().take(3).collect::<String>())
            .filter(|status| status.len() == 3 && !status.starts_with('1'))
            .collect();
        // 405 to the POST is an answer as well: the message was cut in one way, and went on.
        let refused = statuses
            .first()
            .is_none_or(|status| ["400", "408", "411", "413", "417", "431", "501"].contains(&status.as_str()));
        let went_on = statuses.len() > 1;
        if went_on || !refused && !may_answer_once {
            found.push(format!("{name}: {}", statuses.join(" and ")));
        }
    }
    none_of(&found, format!("{} messages, none is taken for two", cases.len()))
}

async fn lengths(s: &Subject) -> Outcome {
    let cases = [
        ("two lengths", "Host: HOST\r\nContent-Length: 0\r\nContent-Length: 5\r\n", "xxxxx"),
        ("a list of lengths", "Host: HOST\r\nContent-Length: 0, 5\r\n", "xxxxx"),
        ("a sign", "Host: HOST\r\nContent-Length: +5\r\n", "xxxxx"),
        ("a negative length", "Host: HOST\r\nContent-Length: -5\r\n", ""),
        ("hexadecimal", "Host: HOST\r\nContent-Length: 0x5\r\n", "xxxxx"),
        ("too great", "Host: HOST\r\nContent-Length: 99999999999999999999999\r\n", ""),
        ("letters behind", "Host: HOST\r\nContent-Length: 5 x\r\n", "xxxxx"),
    ];
    taken(s, &cases, false).await
}

async fn both(s: &Subject) -> Outcome {
    let cases = [
        ("length, then chunked", "Host: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("chunked, then length", "Host: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("length 0", "Host: HOST\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ];
    // A server may read it as chunked, if it then closes.
    taken(s, &cases, true).await
}

async fn codings(s: &Subject) -> Outcome {
    let cases = [
        ("chunked not last", "Host: HOST\r\nTransfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("an unknown coding", "Host: HOST\r\nTransfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("chunked twice", "Host: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("a size that is none", "Host: HOST\r\nTransfer-Encoding: chunked\r\n", "zz\r\n\r\n0\r\n\r\n"),
        ("a size with a sign", "Host: HOST\r\nTransfer-Encoding: chunked\r\n", "+1\r\nx\r\n0\r\n\r\n"),
        ("a chunk that is longer", "Host: HOST\r\nTransfer-Encoding: chunked\r\n", "1\r\nxyz\r\n0\r\n\r\n"),
    ];
    taken(s, &cases, false).await
}

async fn lines(s: &Subject) -> Outcome {
    let cases = [
        ("a space before the colon", "Host: HOST\r\nContent-Length : 0\r\n", ""),
        ("no host", "Content-Length: 0\r\n", ""),
        ("two hosts", "Host: HOST\r\nHost: attacker.example\r\nContent-Length: 0\r\n", ""),
        ("NUL in a value", "Host: HOST\r\nX-Nul: a\u{0}b\r\nContent-Length: 0\r\n", ""),
        ("a line without a colon", "Host: HOST\r\nnonsense\r\nContent-Length: 0\r\n", ""),
    ];
    taken(s, &cases, false).await
}
