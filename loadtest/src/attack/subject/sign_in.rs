//! A person's way from a request for authorization to the client's answer.

use url::Url;

use super::{Granted, Proof, Registered, Subject, is_client, query, with};
use crate::attack::http::Trouble;
use crate::attack::person::{Page, Person};

/// Where a person came to after saying yes.
#[derive(Debug)]
pub enum Onward {
    /// At the identity provider; not opened yet.
    Provider(Url),
    /// At the client; never opened.
    Client(Url),
}

impl Subject {
    pub fn authorize(&self, parameters: &[(&str, String)]) -> Result<Url, Trouble> {
        let mut url = self.endpoint("authorization_endpoint")?;
        url.query_pairs_mut().extend_pairs(parameters);
        Ok(url)
    }

    /// Opens a request for authorization and goes on by itself as far as the authorization server leads.
    pub async fn ask(&self, person: &mut Person, parameters: &[(&str, String)]) -> Result<Page, Trouble> {
        let mut page = person.open(&self.client, &self.authorize(parameters)?).await?;
        for _ in 0..MOST_PAGES {
            match page.leads_to() {
                Some(next) if self.is_ours(&next) => page = person.open(&self.client, &next).await?,
                _ => break,
            }
        }
        Ok(page)
    }

    /// The consent page of a new request.
    pub async fn consent(&self, person: &mut Person, client: &Registered, proof: &Proof) -> Result<Page, Trouble> {
        let page = self.ask(person, &self.parameters(client, proof)).await?;
        match page.form(&self.buttons.allow) {
            Some(_) => Ok(page),
            None => Err(Trouble::Unable(format!("no page with a button to allow (--allow): {}", page.answer.status))),
        }
    }

    /// Says yes on a consent page.
    pub async fn allow(&self, person: &mut Person, page: &Page) -> Result<Onward, Trouble> {
        let Some((form, button)) = page.form(&self.buttons.allow) else {
            return Err(Trouble::Unable("no button to allow (--allow)".to_owned()));
        };
        let page = person.press(&self.client, page, &form, button).await?;
        self.onward(person, page).await
    }

    /// Follows as far as it leads to the provider or the client.
    pub async fn onward(&self, person: &mut Person, mut page: Page) -> Result<Onward, Trouble> {
        for _ in 0..MOST_PAGES {
            let Some(next) = page.leads_to() else {
                return Err(Trouble::Unable(format!("the way ends at a page of {}", page.answer.status)));
            };
            if is_client(&next) {
                return Ok(Onward::Client(next));
            }
            if !self.is_ours(&next) {
                return Ok(Onward::Provider(next));
            }
            page = person.open(&self.client, &next).await?;
        }
        Err(Trouble::Unable("the way does not end".to_owned()))
    }

    /// Signs in at the provider as the n-th person. The result is the callback, not opened.
    pub async fn sign_in(&self, person: &mut Person, at: &Url, who: usize) -> Result<Url, Trouble> {
        let none = || Trouble::Unable("it needs a sign-in (--login)".to_owned());
        let login = self.buttons.logins.get(who).ok_or_else(none)?;
        let mut page = person.open(&self.client, at).await?;
        for _ in 0..MOST_PAGES {
            if let Some(next) = page.leads_to() {
                if self.is_ours(&next) {
                    return Ok(next);
                }
                page = person.open(&self.client, &next).await?;
            } else if let Some((form, button)) = page.form(std::slice::from_ref(login)) {
                page = person.press(&self.client, &page, &form, button).await?;
            } else {
                return Err(Trouble::Unable(format!("the provider's page of {} has no way on", page.answer.status)));
            }
        }
        Err(Trouble::Unable("the provider's pages do not end".to_owned()))
    }

    /// From the page, or the redirect, that came of a request to the client's answer.
    pub async fn finish(&self, person: &mut Person, page: Page, who: usize) -> Result<Url, Trouble> {
        // There are servers that ask nobody.
        let onward = match page.leads_to() {
            Some(_) => self.onward(person, page).await?,
            None => self.allow(person, &page).await?,
        };
        let provider = match onward {
            Onward::Client(answer) => return Ok(answer),
            Onward::Provider(at) => at,
        };
        let callback = self.sign_in(person, &provider, who).await?;
        let page = person.open(&self.client, &callback).await?;
        match self.onward(person, page).await? {
            Onward::Client(answer) => Ok(answer),
            Onward::Provider(_) => Err(Trouble::Unable("back at the provider".to_owned())),
        }
    }

    /// Everything up to the code: a new client, a new browser, the n-th person.
    pub async fn grant(&self, who: usize) -> Result<Granted, Trouble> {
        let client = self.register().await?;
        self.grant_to(client, who, &[]).await
    }

    /// The same for a client, with parameters put in the place of its own.
    pub async fn grant_to(
        &self,
        client: Registered,
        who: usize,
        instead: &[(&'static str, String)],
    ) -> Result<Granted, Trouble> {
        if self.buttons.logins.len() <= who {
            return Err(Trouble::Unable("it needs a sign-in (--login)".to_owned()));
        }
        let (mut person, proof) = (Person::default(), Proof::new());
        let parameters = with(self.parameters(&client, &proof), instead);
        let page = self.ask(&mut person, &parameters).await?;
        let answer = self.finish(&mut person, page, who).await?;
        let code = query(&answer, "code").ok_or_else(|| Trouble::Unable("an answer without a code".to_owned()))?;
        Ok(Granted { client, proof, answer, code, person })
    }
}

/// A sign-in has about eight.
const MOST_PAGES: usize = 20;
