//! docs/endpoints.md beside a gateway that runs: each path serves the methods that stand there, and no others.

use http::{Method, StatusCode};

use super::project::read;
use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];

/// Path and methods of each row of the first table under a heading.
fn rows(heading: &str) -> Vec<(String, Vec<String>)> {
    let page = read("docs/endpoints.md");
    let (_, after) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let table = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table
        .skip(2)
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let methods = cells[2].split(',').map(|method| method.trim().to_owned()).collect();
            (cells[1].trim().trim_matches('`').to_owned(), methods)
        })
        .collect()
}

#[tokio::test]
async fn each_endpoint_serves_the_methods_that_are_documented_and_no_others() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let ours = rows("## Sign-in and tokens");
    let admin = rows("## The admin listener");
    assert!(ours.len() == 9 && admin.len() == 10);
    let ours =
        ours.iter().map(|(path, methods)| (gateway.url(&path.replace('*', "oauth-authorization-server")), methods));
    let admin = admin.iter().map(|(path, methods)| (gateway.admin_url(path), methods));
    for (url, documented) in ours.chain(admin) {
        let mut served = Vec::new();
        for method in METHODS {
            let answer = http_client().request(method.clone(), &url).send().await.unwrap();
            assert_ne!(answer.status(), StatusCode::NOT_FOUND, "{method} {url}");
            if answer.status() != StatusCode::METHOD_NOT_ALLOWED {
                served.push(method.to_string());
            }
        }
        let mut documented = documented.clone();
        documented.sort();
        served.sort();
        assert_eq!(served, documented, "{url}");
    }
    // Whoever comes without a token is told where to get one, whatever the method.
    for (path, methods) in rows("## MCP") {
        for method in methods.iter().filter(|method| *method != "OPTIONS") {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = http_client().request(method.clone(), gateway.url(&path)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        }
    }
}
