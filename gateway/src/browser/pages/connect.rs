//! How to connect: for a person who opens an MCP endpoint in a browser.

use askama::Template;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Pages, STYLE};

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectTemplate<'a> {
    style: &'static str,
    server_name: &'a str,
    url: &'a str,
    /// What a client calls the server in its settings.
    name: &'a str,
    vs_code: String,
    cursor: String,
}

impl Pages {
    /// The URL, and settings that can be copied.
    pub fn connect(&self, url: &str) -> Response<Bytes> {
        let name = &short_name(&self.server_name);
        let template = ConnectTemplate {
            style: STYLE,
            server_name: &self.server_name,
            url,
            name,
            vs_code: pretty(&json!({ "servers": { name: { "type": "http", "url": url } } })),
            cursor: pretty(&json!({ "mcpServers": { name: { "url": url } } })),
        };
        self.html(StatusCode::OK, &template)
    }
}

/// Lower-case letters, digits and hyphens: good in a shell, in JSON and in every client.
fn short_name(server_name: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { ' ' };
    let words: String = server_name.chars().map(plain).collect();
    let name = words.split_whitespace().collect::<Vec<_>>().join("-");
    match name.get(..32).unwrap_or(&name).trim_end_matches('-') {
        "" => "mcp".to_owned(),
        name => name.to_owned(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("texts serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_needs_no_quoting() {
        for (name, short) in [
            ("Contoso <MCP> tools", "contoso-mcp-tools"),
            ("mcp.example.com:8443", "mcp-example-com-8443"),
            ("Tön $(reboot)", "t-n-reboot"),
            ("漢字", "mcp"),
            (&"ab ".repeat(40), "ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab"),
        ] {
            assert_eq!(short_name(name), short);
        }
    }

    #[test]
    fn every_setting_has_the_url() {
        let url = "https://mcp.example.com/mcp";
        let response = Pages::new("Contoso <MCP>".into(), true).connect(url);
        let html = std::str::from_utf8(response.body()).unwrap().replace("&#34;", "\"");
        for expected in [
            "claude mcp add --transport http contoso-mcp https://mcp.example.com/mcp",
            "{\n  \"servers\": {\n    \"contoso-mcp\": {\n      \"type\": \"http\",\n      \"url\": \"https://mcp.example.com/mcp\"",
            "{\n  \"mcpServers\": {\n    \"contoso-mcp\": {\n      \"url\": \"https://mcp.example.com/mcp\"",
            "npx @modelcontextprotocol/inspector --server-url https://mcp.example.com/mcp --transport http",
        ] {
            assert!(html.contains(expected), "{expected}\n{html}");
        }
    }
}
