//! The parameters of a query or a form. Each may be there once (RFC 6749 section 3.1).

use std::borrow::Cow;

/// Parameters as they came, decoded once and only once.
pub struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A parameter that is there more than once: two readers might take different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a parameter is there more than once")]
pub struct Repeated;

impl<'a> Parameters<'a> {
    /// `application/x-www-form-urlencoded` text. One without a value counts as absent (RFC 6749 section 3.1).
    pub fn parse(text: &'a [u8]) -> Self {
        Self(form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty()).collect())
    }

    pub fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_ref());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated),
            (value, None) => Ok(value),
        }
    }

    /// Whether every parameter, known or not, is there once.
    pub fn each_once(&self) -> Result<(), Repeated> {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(Repeated),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once() {
        let parameters = Parameters::parse(b"state=a%2Bb%252F&scope=x+y&empty=&flag");
        assert_eq!(parameters.one("state"), Ok(Some("a+b%2F")));
        assert_eq!(parameters.one("scope"), Ok(Some("x y")));
        assert_eq!(parameters.one("empty"), Ok(None));
        assert_eq!(parameters.one("flag"), Ok(None));
        assert_eq!(parameters.each_once(), Ok(()));
    }

    #[test]
    fn a_repeated_parameter_is_no_parameter() {
        let parameters = Parameters::parse(b"a=1&b=2&%61=1");
        assert_eq!(parameters.one("a"), Err(Repeated));
        assert_eq!(parameters.one("b"), Ok(Some("2")));
        assert_eq!(parameters.each_once(), Err(Repeated));
    }
}
