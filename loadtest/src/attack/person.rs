//! A person at a browser: a jar of cookies, and buttons that are pressed because they are there.

use url::Url;

use super::http::{Answer, Client, Request, Trouble};
use crate::sign_in::page::{self, Form};

/// What a person presses: `name=value` each.
#[derive(Clone, Debug)]
pub struct Buttons {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
    pub logins: Vec<String>,
}

/// A browser. A clone has the same cookies, and keeps its own from then on.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// Host, name, value; a host whatever its port, as browsers keep them.
    cookies: Vec<(String, String, String)>,
    /// Every `Set-Cookie` there was, by the host it was of.
    pub given: Vec<(String, String)>,
}

pub struct Page {
    pub at: Url,
    pub answer: Answer,
}

impl Person {
    pub async fn open(&mut self, client: &Client, url: &Url) -> Result<Page, Trouble> {
        self.load(client, Request::get(url).with("Sec-Fetch-Site", "none")).await
    }

    /// As a page's own form does it.
    pub async fn press(&mut self, client: &Client, from: &Page, form: &Form, button: &str) -> Result<Page, Trouble> {
        let request = from.submit(form, button)?;
        let origin = from.at.origin().ascii_serialization();
        self.load(client, request.with("Origin", origin).with("Sec-Fetch-Site", "same-origin")).await
    }

    /// Sends a navigation with this browser's cookies.
    pub async fn load(&mut self, client: &Client, mut request: Request) -> Result<Page, Trouble> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let cookies: Vec<_> = self.cookies.iter().filter(|(its, ..)| *its == host).collect();
        if !cookies.is_empty() {
            let pairs: Vec<_> = cookies.iter().map(|(_, name, value)| format!("{name}={value}")).collect();
            request = request.with("Cookie", pairs.join("; "));
        }
        request = request.with("Accept", "text/html,*/*;q=0.8");
        request = request.with("Sec-Fetch-Mode", "navigate").with("Sec-Fetch-Dest", "document");
        let answer = client.send(&request).await?;
        for (_, line) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            self.keep(&host, line);
            self.given.push((host.clone(), line.clone()));
        }
        Ok(Page { at: request.url, answer })
    }

    fn keep(&mut self, host: &str, line: &str) {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let Some((name, value)) = pair.split_once('=') else { return };
        self.cookies.retain(|(its_host, its_name, _)| its_host != host || its_name != name.trim());
        let attributes = attributes.to_ascii_lowercase();
        let over = attributes
            .split(';')
            .map(str::trim)
            .any(|it| it == "max-age=0" || it.starts_with("expires=thu, 01 jan 1970"));
        if !over {
            self.cookies.push((host.to_owned(), name.trim().to_owned(), value.to_owned()));
        }
    }
}

impl Page {
    /// Where the answer sends a browser by itself.
    pub fn leads_to(&self) -> Option<Url> {
        let to = match self.answer.status {
            300..400 => self.answer.header("location")?.to_owned(),
            _ => page::refresh(&self.answer.text())?,
        };
        self.at.join(&to).ok()
    }

    /// The form with one of these buttons, and the button.
    pub fn form<'a>(&self, buttons: &'a [String]) -> Option<(Form, &'a str)> {
        let mut forms = page::forms(&self.answer.text());
        for button in buttons {
            let (name, value) = split(button);
            if let Some(index) = forms.iter().position(|form| form.has_button(name, value)) {
                return Some((forms.swap_remove(index), button));
            }
        }
        None
    }

    /// The form's request, without what a browser adds.
    pub fn submit(&self, form: &Form, button: &str) -> Result<Request, Trouble> {
        let to = self.at.join(&form.action).map_err(|_| Trouble::Unable("a form without an address".to_owned()))?;
        let (name, value) = split(button);
        let fields = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Request::form(&to, fields.chain([(name, value)])))
    }
}

fn split(button: &str) -> (&str, &str) {
    button.split_once('=').unwrap_or((button, ""))
}
