//! An authorization server with an MCP endpoint that does everything wrong, so that every attack has something to find.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::routing::any;
use tokio::net::TcpListener;

/// What it has to be failed for.
pub const MISTAKES: [&str; 36] = [
    "D1", "D5", "D7", "D8", "R1", "R2", "R3", "R4", "R5", "R7", "R10", "U1", "U2", "U3", "U5", "A1", "A2", "A3", "A4",
    "P1", "C1", "K1", "K2", "K3", "K4", "K6", "K7", "K8", "K9", "F1", "F2", "F4", "F5", "F6", "T1", "T4",
];

/// Serves until the test's runtime ends.
pub async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let router = Router::new().fallback(any(answer)).with_state(());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    format!("{origin}/mcp")
}

async fn answer(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let parameters = [uri.query().unwrap_or_default(), &body].join("&");
    let parameter = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(parameters.as_bytes());
        pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned())).unwrap_or_default()
    };
    let answer = Response::builder()
        .header("access-control-allow-origin", header("origin"))
        .header("access-control-allow-credentials", "true")
        .header("cache-control", "public");
    // It believes whatever name it is called by.
    let name = [header("x-forwarded-host"), header("host")].into_iter().find(|name| !name.is_empty());
    let origin = format!("http://{}", name.unwrap_or_default().replace("0.0.0.0", "localhost"));
    let (kind, text) = match uri.path() {
        "/.well-known/oauth-authorization-server" => {
            let endpoint = |name: &str| format!("\"{name}_endpoint\":\"{origin}/{name}\"");
            let endpoints = [endpoint("token"), endpoint("registration"), endpoint("authorization")].join(",");
            ("application/json", format!("{{\"issuer\":\"{origin}\",{endpoints}}}"))
        }
        "/registration" => {
            fetch_logo(&body).await;
            let uris = serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default()["redirect_uris"].take();
            // Everybody is the same client.
            ("application/json", format!("{{\"client_id\":\"client\",\"redirect_uris\":{uris}}}"))
        }
        "/authorization" if parameter("response_type").contains('<') => ("text/html", parameter("response_type")),
        "/authorization" => {
            let to = parameter("redirect_uri").replace(['\r', '\n', '\0'], "");
            let state = url::form_urlencoded::byte_serialize(parameter("state").as_bytes()).collect::<String>();
            let to: String = to.chars().filter(char::is_ascii_graphic).collect();
            return answer
                .status(302)
                .header("location", format!("{to}?code=code&state={state}"))
                .body(Body::empty())
                .unwrap();
        }
        "/token" => {
            let tokens = format!(
                "\"access_token\":\"access\",\"refresh_token\":\"refresh\",\"scope\":\"{}\"",
                parameter("scope")
            );
            ("application/json", format!("{{{tokens}}}"))
        }
        "/mcp" if header("authorization").is_empty() && parameter("access_token").is_empty() => {
            return answer.status(401).body(Body::empty()).unwrap();
        }
        "/mcp" if method == Method::POST => ("application/json", "{\"result\":{\"serverInfo\":{}}}".to_owned()),
        _ => return answer.status(404).body(Body::empty()).unwrap(),
    };
    answer.header("content-type", kind).body(Body::from(text)).unwrap()
}

/// As a server that wants to show logos might.
async fn fetch_logo(registration: &str) {
    let Some((_, rest)) = registration.split_once("\"logo_uri\":\"http://127.0.0.1:") else { return };
    let port = rest.split('/').next().and_then(|port| port.parse::<u16>().ok());
    if let Some(port) = port {
        // Whether it is there is the attacker's question.
        let _ = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    }
}
