//! `prompt` of OpenID Connect Core section 3.1.2.1: whether the user is to be asked, and for what.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// No page at all: an answer, or an error that says which page would be needed.
    None,
    /// Sign in anew.
    Login,
    SelectAccount,
    /// Ask for consent even if it was given: ours. It does not go to Entra, where it could demand an administrator although
    /// consent was given long ago.
    Consent,
}

/// `none` beside another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAlone;

impl Prompt {
    /// Of several values the one that asks most of the user, since Entra takes one. Unknown ones do not matter.
    pub fn parse(text: &str) -> Result<Option<Self>, NotAlone> {
        let named: Vec<&str> = text.split(' ').filter(|value| !value.is_empty()).collect();
        if named.contains(&Self::None.as_str()) && named.len() > 1 {
            return Err(NotAlone);
        }
        let strictest_first = [Self::Login, Self::SelectAccount, Self::Consent, Self::None];
        Ok(strictest_first.into_iter().find(|prompt| named.contains(&prompt.as_str())))
    }

    /// What Entra is told.
    pub fn for_entra(self) -> Option<&'static str> {
        (self != Self::Consent).then_some(self.as_str())
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::SelectAccount => "select_account",
            Self::Consent => "consent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_taken_and_none_stands_alone() {
        for (text, prompt) in [
            ("none", Some(Prompt::None)),
            ("consent", Some(Prompt::Consent)),
            ("consent select_account", Some(Prompt::SelectAccount)),
            ("consent login", Some(Prompt::Login)),
            ("create", None),
            ("LOGIN", None),
            ("", None),
        ] {
            assert_eq!(Prompt::parse(text), Ok(prompt), "{text}");
        }
        for text in ["none login", "consent none", "none none", "none other"] {
            assert_eq!(Prompt::parse(text), Err(NotAlone), "{text}");
        }
    }
}
