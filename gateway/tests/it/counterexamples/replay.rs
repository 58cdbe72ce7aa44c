//! The events of the model, as requests of two browsers and two clients.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::support::browser::{Browser, Page, http_client};
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client, VERIFIER, query, sign_in_at_entra};
use crate::support::upstream::Upstream;

/// `V`, the victim, or `A`, the attacker.
type Person = &'static str;
/// An Allow for a request, in somebody's browser.
type Transaction = (usize, Person);

pub struct Replay<'a> {
    gateway: &'a Gateway,
    browsers: BTreeMap<Person, Browser>,
    /// `H`, which is honest, and `M`, whose every secret the attacker knows.
    clients: BTreeMap<String, Client>,
    requests: BTreeMap<usize, Begun>,
    /// The address at Entra that Allow led to.
    at_entra: BTreeMap<Transaction, String>,
    /// The address of our callback that Entra sent a user to.
    back: BTreeMap<(Transaction, Person), Url>,
    /// Ours.
    codes: BTreeMap<Transaction, (String, Person)>,
    /// Who has a token, of whose session.
    tokens: Vec<(Person, Person, String)>,
}

struct Begun {
    client: String,
    starter: Person,
}

impl<'a> Replay<'a> {
    pub async fn at(gateway: &'a Gateway) -> Self {
        let (honest, malicious) = (Client::register(gateway).await, Client::register(gateway).await);
        Self {
            gateway,
            browsers: BTreeMap::from([("V", Browser::new()), ("A", Browser::new())]),
            clients: BTreeMap::from([("H".to_owned(), honest), ("M".to_owned(), malicious)]),
            requests: BTreeMap::new(),
            at_entra: BTreeMap::new(),
            back: BTreeMap::new(),
            codes: BTreeMap::new(),
            tokens: Vec::new(),
        }
    }

    /// How the edge refuses it; `None` when it happens.
    pub async fn happens(&mut self, event: &str) -> Option<String> {
        let words: Vec<&str> = event.split(' ').collect();
        match words[..] {
            ["begin", request, client, starter] => {
                let begun = Begun { client: client.to_owned(), starter: person(starter) };
                self.requests.insert(request.parse().unwrap(), begun);
                None
            }
            ["allow", request, browser] => self.allow((request.parse().unwrap(), person(browser))).await,
            ["forged_allow", request] => self.forged_allow(request.parse().unwrap()).await,
            ["sign_in", of, user] => {
                self.sign_in(transaction(of), person(user)).await;
                None
            }
            ["callback", browser, of, user, code_of] => {
                self.callback(person(browser), transaction(of), person(user), transaction(code_of)).await
            }
            ["redeem", who, of] => self.redeem(person(who), transaction(of)).await,
            _ => panic!("the model has no event {event}"),
        }
    }

    async fn allow(&mut self, transaction: Transaction) -> Option<String> {
        let client = &self.clients[&self.requests[&transaction.0].client];
        let page = client.consent(self.gateway, &self.browsers[transaction.1], "allow").await;
        let goes_on = page.status == 200;
        if goes_on {
            self.at_entra.insert(transaction, page.next());
        }
        (!goes_on).then(|| refusal(&page))
    }

    /// A page of the attacker's posts what the attacker was shown, in the victim's browser. If that took the page for one of ours,
    /// there would still be the token.
    async fn forged_allow(&mut self, request: usize) -> Option<String> {
        let client = &self.clients[&self.requests[&request].client];
        let attacker = &self.browsers["A"];
        let page = attacker.get(&attacker.get(&client.authorize_url(self.gateway)).await.next()).await;
        let (sealed, csrf, action) = (page.hidden("request"), page.hidden("csrf"), page.action());
        let form = [("request", sealed.as_str()), ("csrf", csrf.as_str()), ("decision", "allow")];
        let victim = &self.browsers["V"];
        let foreign = victim.request(reqwest::Method::POST, &action).header("origin", "https://evil.example");
        let foreign = foreign.header("sec-fetch-site", "cross-site").form(&form);
        let pages = [victim.send(foreign, &action).await, victim.submit(&action, &form).await];
        if let Some(page) = pages.iter().find(|page| page.status == 200) {
            self.at_entra.insert((request, "V"), page.next());
            return None;
        }
        let [from_elsewhere, as_if_ours] = pages.map(|page| refusal(&page));
        assert_eq!(from_elsewhere, "403 SP-1201");
        Some(as_if_ours)
    }

    /// Each user at Entra is in his own browser there.
    async fn sign_in(&mut self, transaction: Transaction, user: Person) {
        let name = if user == "V" { ADELE } else { ALEX };
        let back = sign_in_at_entra(&self.browsers[user], &self.at_entra[&transaction], name).await;
        self.back.insert((transaction, user), Url::parse(&back).unwrap());
    }

    /// With the `state` of one transaction, and the code that Entra gave a user in one that may be another.
    async fn callback(
        &mut self,
        browser: Person,
        transaction: Transaction,
        user: Person,
        code_of: Transaction,
    ) -> Option<String> {
        let mut callback = self.back[&(code_of, user)].clone();
        let state = query(&Url::parse(&self.at_entra[&transaction]).unwrap(), "state").unwrap();
        let others = callback.query_pairs().filter(|(name, _)| name != "state");
        let pairs: Vec<_> = others.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        callback.query_pairs_mut().clear().extend_pairs(pairs).append_pair("state", &state);
        let page = self.browsers[browser].get(callback.as_str()).await;
        let code = page.location.as_ref().and_then(|url| query(&Url::parse(url).unwrap(), "code"));
        match code {
            Some(code) => {
                self.codes.insert(transaction, (code, user));
                None
            }
            None => Some(refusal(&page)),
        }
    }

    /// With the verifier, if whoever redeems has it.
    async fn redeem(&mut self, who: Person, transaction: Transaction) -> Option<String> {
        let (code, user) = self.codes[&transaction].clone();
        let begun = &self.requests[&transaction.0];
        let knows = match who {
            "A" => begun.starter == "A" || begun.client == "M",
            _ => begun.starter == "V" && begun.client == "H",
        };
        let verifier = if knows { VERIFIER } else { "a-guess-that-is-long-enough-to-be-a-verifier-0123" };
        let client = &self.clients[&begun.client];
        let (status, answer) = client.redeem_with(self.gateway, &code, &[("code_verifier", verifier)]).await;
        match answer["access_token"].as_str() {
            Some(token) => {
                self.tokens.push((who, user, token.to_owned()));
                None
            }
            None => Some(format!("{status} {}", answer["error"].as_str().unwrap_or_default())),
        }
    }

    /// The attacker has no token of the victim's, the victim none of the attacker's, and none of a code that was used twice works.
    pub async fn nobody_has_what_is_not_his(&self, upstream: &Upstream) {
        for (who, user, token) in &self.tokens {
            assert_eq!(who, user, "{who} has a token for the session of {user}");
            let call = http_client().post(self.gateway.url("/mcp")).bearer_auth(token).body("{}").send().await.unwrap();
            assert_eq!(call.status(), 401, "a session that was won twice goes on");
        }
        assert!(upstream.seen().is_empty());
    }
}

fn person(name: &str) -> Person {
    ["V", "A"].into_iter().find(|known| *known == name).unwrap_or_else(|| panic!("nobody is called {name}"))
}

fn transaction(text: &str) -> Transaction {
    let (request, browser) = text.split_once('/').unwrap();
    (request.parse().unwrap(), person(browser))
}

/// The status, and the code of a page or the word that a client is told.
fn refusal(page: &Page) -> String {
    let told = page.location.as_ref().and_then(|url| query(&Url::parse(url).unwrap(), "error"));
    let shown = page.body.split_once("SP-").map(|(_, rest)| format!("SP-{}", &rest[..4]));
    let word = serde_json::from_str::<Value>(&page.body).ok().map(|body| body["error"].to_string());
    format!("{} {}", page.status.as_u16(), told.or(shown).or(word).unwrap_or_default())
}
