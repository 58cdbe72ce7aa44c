//! Which tools of an upstream may be called by whom.

use std::str::FromStr;

use super::{Membership, Requirement};

/// The rules of one upstream, in the order of the configuration. The first that names a tool decides; a tool that none names
/// may be called by everybody. The default has none.
#[derive(Clone, Debug, Default)]
pub struct ToolRules(Vec<ToolRule>);

#[derive(Clone, Debug)]
pub struct ToolRule {
    pub tools: Vec<ToolPattern>,
    pub who: Who,
}

#[derive(Clone, Debug)]
pub enum Who {
    Everyone,
    Nobody,
    Only(Requirement),
}

/// The name of a tool, or the beginning of one with a `*` behind it. Case matters, as in MCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolPattern {
    name: String,
    is_beginning: bool,
}

impl ToolRules {
    pub fn new(rules: Vec<ToolRule>) -> Self {
        Self(rules)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn allow(&self, membership: &Membership, tool: &str) -> bool {
        let rule = self.0.iter().find(|rule| rule.tools.iter().any(|pattern| pattern.matches(tool)));
        match rule.map(|rule| &rule.who) {
            None | Some(Who::Everyone) => true,
            Some(Who::Nobody) => false,
            Some(Who::Only(requirement)) => membership.meets(requirement),
        }
    }

    pub(super) fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter().filter_map(|rule| match &rule.who {
            Who::Only(requirement) => Some(requirement),
            Who::Everyone | Who::Nobody => None,
        })
    }
}

impl ToolPattern {
    fn matches(&self, tool: &str) -> bool {
        if self.is_beginning { tool.starts_with(&self.name) } else { tool == self.name }
    }
}

impl FromStr for ToolPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, is_beginning) = text.strip_suffix('*').map_or((text, false), |beginning| (beginning, true));
        let plain = |letter: char| !letter.is_control() && !letter.is_whitespace() && letter != '*';
        if text.is_empty() || text.len() > 128 || !name.chars().all(plain) {
            return Err("must be the name of a tool without spaces, or its beginning and one * at the end");
        }
        Ok(Self { name: name.to_owned(), is_beginning })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Access, Party};
    use super::*;

    fn rule(tools: &[&str], who: Who) -> ToolRule {
        ToolRule { tools: tools.iter().map(|tool| tool.parse().unwrap()).collect(), who }
    }

    #[test]
    fn the_first_rule_that_names_a_tool_decides() {
        let admin = Requirement::any_of([Party::Role("Admin".into())]);
        let rules = ToolRules::new(vec![
            rule(&["get_user", "list_*"], Who::Everyone),
            rule(&["delete_*", "purge"], Who::Only(admin.clone())),
            rule(&["list_secrets", "get_*"], Who::Nobody),
        ]);
        let access =
            Access { sign_in: Some(admin), named: BTreeSet::from([Party::Role("Admin".into())]), ..Access::default() };
        let of = |roles: &[&str]| {
            let roles = roles.iter().map(|role| (*role).to_owned()).collect();
            access.of(&entra::Memberships { roles, ..entra::Memberships::default() })
        };
        for (tool, user, administrator) in [
            ("get_user", true, true),
            ("get_users", false, false),
            ("get_", false, false),
            ("list_secrets", true, true),
            ("delete_user", false, true),
            ("delete_", false, true),
            ("delete", true, true),
            ("purge", false, true),
            ("purge_all", true, true),
            ("Purge", true, true),
            ("send_mail", true, true),
        ] {
            assert_eq!(
                (rules.allow(&of(&[]), tool), rules.allow(&of(&["Admin"]), tool)),
                (user, administrator),
                "{tool}"
            );
        }
    }

    #[test]
    fn a_star_alone_is_every_tool() {
        let rules = ToolRules::new(vec![rule(&["get_*"], Who::Everyone), rule(&["*"], Who::Nobody)]);
        for (tool, allowed) in [("get_x", true), ("x", false), ("", false)] {
            assert_eq!(rules.allow(&Membership::default(), tool), allowed, "{tool}");
        }
        assert!(ToolRules::default().is_empty() && ToolRules::default().allow(&Membership::default(), "x"));
    }

    #[test]
    fn patterns_are_plain() {
        for text in ["", "a*b", "**", "*a", "a b", "a\n", &"x".repeat(129)] {
            assert!(text.parse::<ToolPattern>().is_err(), "{text}");
        }
        for text in ["*", "a*", "a.b/c-d_E", "größe"] {
            assert!(text.parse::<ToolPattern>().is_ok(), "{text}");
        }
    }
}
