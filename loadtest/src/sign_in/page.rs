//! Reads of a page what a person can act on: its forms with their buttons, and where it goes on to by itself. Enough for
//! well-formed pages.

/// A form with the values that it has before anybody touches it.
#[derive(Debug, Default)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
    buttons: Vec<(String, String)>,
}

impl Form {
    pub fn has_button(&self, name: &str, value: &str) -> bool {
        self.buttons.iter().any(|(its_name, its_value)| its_name == name && its_value == value)
    }
}

/// Every form of the page.
pub fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut inside = false;
    for tag in Tags(html) {
        match (tag.name, forms.last_mut()) {
            ("form", _) => {
                inside = true;
                forms.push(Form { action: tag.attribute("action").unwrap_or_default(), ..Form::default() });
            }
            ("/form", _) => inside = false,
            ("input", Some(form)) if inside && tag.attribute("type").as_deref() == Some("hidden") => {
                form.fields.push(tag.named_value());
            }
            ("button", Some(form)) if inside => form.buttons.push(tag.named_value()),
            _ => {}
        }
    }
    forms
}

/// Where `<meta http-equiv="refresh">` leads.
pub fn refresh(html: &str) -> Option<String> {
    let tag = Tags(html).find(|tag| {
        tag.name == "meta" && tag.attribute("http-equiv").is_some_and(|value| value.eq_ignore_ascii_case("refresh"))
    })?;
    let content = tag.attribute("content")?;
    let (_, target) = content.split_once("url=")?;
    Some(target.trim().to_owned())
}

struct Tag<'a> {
    name: &'a str,
    rest: &'a str,
}

/// The tags of a page, in order.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let begin = self.0.find('<')? + 1;
        let inside = &self.0[begin..];
        let mut quote = None;
        let end = inside.find(|letter| match (quote, letter) {
            (None, '"' | '\'') => {
                quote = Some(letter);
                false
            }
            (Some(open), _) => {
                if letter == open {
                    quote = None;
                }
                false
            }
            (None, _) => letter == '>',
        })?;
        self.0 = &inside[end + 1..];
        let (name, rest) = inside[..end].split_once(char::is_whitespace).unwrap_or((&inside[..end], ""));
        Some(Tag { name, rest })
    }
}

impl Tag<'_> {
    fn named_value(&self) -> (String, String) {
        (self.attribute("name").unwrap_or_default(), self.attribute("value").unwrap_or_default())
    }

    /// The pages here quote every value.
    fn attribute(&self, wanted: &str) -> Option<String> {
        let mut rest = self.rest;
        loop {
            let (name, after) = rest.split_once('=')?;
            let quote = after.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
            let (value, after) = after[1..].split_once(quote)?;
            // What stands before may be an attribute without a value.
            if name.split_whitespace().last() == Some(wanted) {
                return Some(decode(value));
            }
            rest = after;
        }
    }
}

/// `&amp;` and its like.
fn decode(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        match after.split_once(';').and_then(|(name, after)| Some((entity(name)?, after))) {
            Some((letter, after)) => {
                decoded.push(letter);
                rest = after;
            }
            None => {
                decoded.push('&');
                rest = after;
            }
        }
    }
    decoded + rest
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8">
        <meta http-equiv="refresh" content="0; url=http://localhost/x?a=1&amp;b=2">
        <form method="post" action="/consent"><input type="hidden" name="csrf" value="a&#38;b&#x3d;c">
        <input type="checkbox" name="remember" value="yes"><button disabled name="decision" value="allow">x > y</button>
        </form><form action='/other'><button name="user" value="it's">U</button></form>"#;

    #[test]
    fn forms_are_read_with_their_buttons() {
        let forms = forms(PAGE);
        assert_eq!(forms.len(), 2);
        assert_eq!(forms[0].action, "/consent");
        assert_eq!(forms[0].fields, [("csrf".to_owned(), "a&b=c".to_owned())]);
        assert!(forms[0].has_button("decision", "allow") && !forms[0].has_button("user", "it's"));
        assert!(forms[1].has_button("user", "it's"));
    }

    #[test]
    fn a_page_says_where_it_goes_on() {
        assert_eq!(refresh(PAGE).as_deref(), Some("http://localhost/x?a=1&b=2"));
        assert_eq!(refresh("<p>nothing"), None);
        assert_eq!(refresh("<p broken=\"never closed"), None);
    }
}
