//! What can go wrong in front of a person: a stable code, a title, and what to do about it.

use std::fmt;

use base16ct::lower::encode_string;
use http::StatusCode;

use crate::secret::random_bytes;

/// A fault that is shown as a page. Nothing of the request is ever shown with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    UnknownClient,
    UnregisteredRedirect,
    MalformedRequest,
    DeniedClient,
    BadClientDocument,
    NoClientDocument,
    ConsentExpired,
    ForeignOrigin,
    CrossSite,
    WrongFormToken,
    ConsentNotShown,
    NotAForm,
    UnknownDecision,
    OtherBrowser,
    SignInOver,
    NoAccess,
    GroupsUntold,
    OtherTenant,
    NotForgotten,
    Unavailable,
    TooMany,
}

/// Ties a page to the line in the log. Random; it names nobody.
#[derive(Clone, Copy, Debug)]
pub struct Reference([u8; 4]);

impl Fault {
    #[cfg(test)]
    pub const ALL: [Self; 21] = [
        Self::UnknownClient,
        Self::UnregisteredRedirect,
        Self::MalformedRequest,
        Self::DeniedClient,
        Self::BadClientDocument,
        Self::NoClientDocument,
        Self::ConsentExpired,
        Self::ForeignOrigin,
        Self::CrossSite,
        Self::WrongFormToken,
        Self::ConsentNotShown,
        Self::NotAForm,
        Self::UnknownDecision,
        Self::OtherBrowser,
        Self::SignInOver,
        Self::NoAccess,
        Self::GroupsUntold,
        Self::OtherTenant,
        Self::NotForgotten,
        Self::Unavailable,
        Self::TooMany,
    ];

    /// Documented, and never used twice.
    pub fn code(self) -> &'static str {
        match self {
            Fault::UnknownClient => "SP-1001",
            Fault::UnregisteredRedirect => "SP-1002",
            Fault::MalformedRequest => "SP-1003",
            Fault::DeniedClient => "SP-1004",
            Fault::BadClientDocument => "SP-1005",
            Fault::NoClientDocument => "SP-1006",
            Fault::ConsentExpired => "SP-1101",
            Fault::ForeignOrigin => "SP-1201",
            Fault::CrossSite => "SP-1202",
            Fault::WrongFormToken => "SP-1203",
            Fault::ConsentNotShown => "SP-1204",
            Fault::NotAForm => "SP-1205",
            Fault::UnknownDecision => "SP-1206",
            Fault::OtherBrowser => "SP-1301",
            Fault::SignInOver => "SP-1302",
            Fault::NoAccess => "SP-1303",
            Fault::GroupsUntold => "SP-1304",
            Fault::OtherTenant => "SP-1305",
            Fault::NotForgotten => "SP-1401",
            Fault::Unavailable => "SP-1901",
            Fault::TooMany => "SP-1902",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Fault::UnknownClient
            | Fault::UnregisteredRedirect
            | Fault::MalformedRequest
            | Fault::BadClientDocument
            | Fault::ConsentExpired
            | Fault::UnknownDecision
            | Fault::SignInOver => StatusCode::BAD_REQUEST,
            Fault::DeniedClient
            | Fault::ForeignOrigin
            | Fault::CrossSite
            | Fault::WrongFormToken
            | Fault::ConsentNotShown
            | Fault::OtherBrowser
            | Fault::NoAccess
            | Fault::GroupsUntold
            | Fault::OtherTenant
            | Fault::NotForgotten => StatusCode::FORBIDDEN,
            Fault::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Fault::Unavailable | Fault::NoClientDocument => StatusCode::SERVICE_UNAVAILABLE,
            Fault::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Fault::UnknownClient => "This application is not known here",
            Fault::UnregisteredRedirect => "The return address does not belong to this application",
            Fault::MalformedRequest => "This sign-in link is not complete",
            Fault::DeniedClient => "This application is not allowed here",
            Fault::BadClientDocument => "This application describes itself wrongly",
            Fault::NoClientDocument => "This application's description cannot be read now",
            Fault::ConsentExpired => "This page was open for too long",
            Fault::ForeignOrigin | Fault::CrossSite | Fault::WrongFormToken | Fault::ConsentNotShown => {
                "This answer did not come from our page"
            }
            Fault::NotAForm | Fault::UnknownDecision => "This answer cannot be understood",
            Fault::OtherBrowser => "This sign-in was not started in this browser",
            Fault::SignInOver => "This sign-in is over",
            Fault::NoAccess | Fault::GroupsUntold | Fault::OtherTenant => "Your account may not use this server",
            Fault::NotForgotten => "Nothing was forgotten",
            Fault::Unavailable => "Try again in a moment",
            Fault::TooMany => "Too many sign-ins at once",
        }
    }

    /// What the person can do.
    pub fn advice(self) -> &'static str {
        match self {
            Fault::UnknownClient => {
                "Remove this server from your application and add it again: it will then register anew. If you did not \
                 start this from an application, close this page."
            }
            Fault::UnregisteredRedirect => {
                "For your safety nothing was sent. Remove this server from your application and add it again. If you did \
                 not start this from an application, close this page."
            }
            Fault::MalformedRequest => "Start again from your application. If you followed a link, do not trust it.",
            Fault::DeniedClient => {
                "Whoever runs this server does not allow this application, or the address that it would send your access \
                 to. Ask them if you need it."
            }
            Fault::BadClientDocument => {
                "The document that its publisher has put on the web is missing or not right, so nothing was sent. Tell the \
                 publisher; reloading helps after a minute if it has been put right."
            }
            Fault::NoClientDocument => {
                "The site of its publisher did not answer. Nothing was lost: reload this page in a minute."
            }
            Fault::ConsentExpired => "Start again from your application.",
            Fault::ForeignOrigin | Fault::CrossSite => {
                "For your safety nothing was allowed. Start again from your application, and answer on the page that opens."
            }
            Fault::WrongFormToken | Fault::ConsentNotShown => {
                "For your safety nothing was allowed. The page may have been answered already, or this browser may refuse \
                 cookies. Start again from your application."
            }
            Fault::NotAForm | Fault::UnknownDecision => "Start again from your application.",
            Fault::OtherBrowser => {
                "For your safety nothing was allowed. Start again from your application and stay in the browser that opens. \
                 If somebody sent you a link to sign in with, do not use it."
            }
            Fault::SignInOver => {
                "It was completed already, or it took too long. If your application is not connected, start again there."
            }
            Fault::NoAccess => {
                "You are signed in, but whoever runs this server lets only certain people use it. Ask them if you need it, \
                 or start again in your application and choose another account."
            }
            Fault::GroupsUntold => {
                "Your account is in so many groups that the sign-in does not tell which. Whoever runs this server can change \
                 that: ask them, and name the code below."
            }
            Fault::OtherTenant => {
                "You are signed in with an account of an organisation whose people may not use this server. Start again in your \
                 application and choose another account, or ask whoever runs this server."
            }
            Fault::NotForgotten => {
                "The answer did not come from our page, or the page was open for too long, or this browser refuses cookies. \
                 Open the page again."
            }
            Fault::Unavailable => {
                "A part of this service does not answer. Wait a few seconds, then start again in your application."
            }
            Fault::TooMany => "Your network has started very many of them. Wait a minute, then reload this page.",
        }
    }
}

impl Reference {
    pub fn random() -> Self {
        Self(random_bytes())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&encode_string(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented::{is_generated, names, rows, table};

    /// Each code once, and each with its status in the documentation.
    #[test]
    fn every_code_is_documented() {
        let documented: Vec<_> = rows("errors.md", "## Pages")
            .iter()
            .map(|cells| (names(&cells[0]).concat(), cells[1].parse::<u16>().unwrap()))
            .collect();
        let codes = Fault::ALL.map(|fault| (fault.code().to_owned(), fault.status().as_u16()));
        assert_eq!(documented, codes);
    }

    #[test]
    fn the_reference_has_what_pages_say() {
        let told = Fault::ALL
            .map(|fault| vec![format!("`{}`", fault.code()), fault.title().to_owned(), fault.advice().to_owned()]);
        is_generated("errors.md", "pages", &table(&["code", "what happened", "what to do"], told));
    }
}
