//! Who may use what, by app roles and groups (T44).

mod clear;
mod people;
mod renewed;
mod tools;

use fake_entra::Seed;
use http::StatusCode;
use reqwest::{RequestBuilder, Response};
use sallyport::access::{Party, Requirement, ToolRule, ToolRules, Who};
use serde_json::{Value, json};

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;

const GROUP: &str = "8a3fa1c4-972d-4e6b-8615-be427f9d5301";

/// A directory in which Adele has these roles at the gateway, and is in these groups.
fn directory(roles: &[&str], groups: &[String]) -> Seed {
    let mut seed = Seed::default();
    let gateway = seed.gateway.clone();
    seed.apps.iter_mut().find(|app| app.client_id == gateway).unwrap().group_claims = true;
    let adele = seed.users.iter_mut().find(|user| user.upn == ADELE).unwrap();
    adele.roles.insert(gateway, roles.iter().map(|role| (*role).to_owned()).collect());
    adele.groups = groups.to_vec();
    seed
}

fn role(value: &str) -> Requirement {
    Requirement::any_of([Party::Role(value.to_owned())])
}

fn rule(tools: &[&str], who: Who) -> ToolRule {
    ToolRule { tools: tools.iter().map(|tool| tool.parse().unwrap()).collect(), who }
}

/// One upstream where only a `Tools.Admin` may call `delete_*`, and nobody `debug`.
fn tool_rules() -> ToolRules {
    ToolRules::new(vec![rule(&["delete_*"], Who::Only(role("Tools.Admin"))), rule(&["debug"], Who::Nobody)])
}

/// Somebody who is signed in, at a gateway with rules on tools.
struct Guarded {
    upstream: Upstream,
    gateway: Gateway,
    token: String,
}

impl Guarded {
    async fn start() -> Self {
        Self::with_roles(&[]).await
    }

    async fn with_roles(roles: &[&str]) -> Self {
        Self::with(roles, false).await
    }

    async fn with(roles: &[&str], tls: bool) -> Self {
        let upstream = Upstream::start().await;
        let options = Options { tls, ..Options::simple(&upstream.url) };
        let gateway = Gateway::start_seeded(options, directory(roles, &[]), |settings| {
            settings.upstreams[0].access.tools = tool_rules();
        })
        .await;
        let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
        Self { upstream, gateway, token }
    }

    fn post(&self, body: impl Into<String>) -> RequestBuilder {
        let request = http_client().post(self.gateway.url("/mcp")).bearer_auth(&self.token);
        request.header("content-type", "application/json").body(body.into())
    }

    async fn answer(&self, request: RequestBuilder) -> (StatusCode, Value) {
        read(request.send().await.unwrap()).await
    }

    async fn refused(&self, kind: &str) -> f64 {
        self.gateway.metric(&format!(r#"sallyport_access_refused_total{{kind="{kind}"}}"#)).await
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, response.json().await.unwrap())
}

fn call(tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": {"canary": "arg"}}})
        .to_string()
}
