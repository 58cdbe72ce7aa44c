//! Who may use what, by the app roles and groups of Entra (T44): who may sign in at all, who may use an upstream, and in
//! [`tools`] who may call a tool of it.
//!
//! A rule names roles and groups. What a user is of those, and of no others, is kept with the session as a [`Membership`], as
//! Entra said when the user signed in, and says anew whenever the session's tokens are renewed. A session that is older than a name in the rules says nothing about it, and is over:
//! a new sign-in tells.

pub mod tools;

use std::collections::BTreeSet;

use entra::{Groups, Memberships};
use serde::{Deserialize, Serialize};

pub use tools::{ToolRule, ToolRules, Who};

/// A role or group that a rule can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Party {
    /// The value of an app role of the gateway's registration.
    Role(String),
    /// The object id of a group, in lower case.
    Group(String),
}

/// Any one of these. Nobody meets the empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement(BTreeSet<Party>);

/// What a user is, of all that the rules named when Entra was last asked. The default says nothing about anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    holds: Vec<Party>,
    lacks: Vec<Party>,
}

/// Who may sign in, and with what an upstream is reached. The default lets everybody in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    sign_in: Option<Requirement>,
    /// By the canonical URL of the resource.
    upstreams: Vec<(String, Requirement)>,
    /// By any rule, those for tools too.
    named: BTreeSet<Party>,
}

/// What the rules say of one upstream.
#[derive(Clone, Debug, Default)]
pub struct UpstreamAccess {
    /// `None`: everybody who may sign in.
    pub allow: Option<Requirement>,
    pub tools: ToolRules,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAccess {
    #[error("the session is older than a role or group that the rules name")]
    Unknown,
    #[error("the user has none of the roles and groups that may sign in")]
    SignIn,
    #[error("the user has none of the roles and groups that may use the upstream")]
    Upstream,
    #[error("the user is of a tenant that is not allowed")]
    Tenant,
}

impl Requirement {
    pub fn any_of(parties: impl IntoIterator<Item = Party>) -> Self {
        Self(parties.into_iter().collect())
    }

    pub fn names_groups(&self) -> bool {
        self.0.iter().any(|party| matches!(party, Party::Group(_)))
    }

    pub fn parties(&self) -> impl Iterator<Item = &Party> {
        self.0.iter()
    }
}

impl Membership {
    pub fn meets(&self, requirement: &Requirement) -> bool {
        self.holds.iter().any(|party| requirement.0.contains(party))
    }

    /// Whether something is known about each of these.
    fn covers(&self, named: &BTreeSet<Party>) -> bool {
        named.iter().all(|party| self.holds.contains(party) || self.lacks.contains(party))
    }
}

impl Access {
    /// `upstreams` with the canonical URL of each resource.
    pub fn new<'a>(
        sign_in: Option<Requirement>,
        upstreams: impl IntoIterator<Item = (String, &'a UpstreamAccess)>,
    ) -> Self {
        let mut access = Self { sign_in, ..Self::default() };
        for (resource, upstream) in upstreams {
            access.named.extend(upstream.tools.requirements().flat_map(Requirement::parties).cloned());
            access.upstreams.extend(upstream.allow.clone().map(|allow| (resource, allow)));
        }
        let requirements = access.sign_in.iter().chain(access.upstreams.iter().map(|(_, allow)| allow));
        let named: Vec<_> = requirements.flat_map(Requirement::parties).cloned().collect();
        access.named.extend(named);
        access
    }

    /// What to keep of a sign-in or a renewal. Groups that Entra did not tell are not held: fail closed.
    pub fn of(&self, memberships: &Memberships) -> Membership {
        let groups: &[String] = match &memberships.groups {
            Groups::Told(groups) => groups,
            Groups::TooMany => &[],
        };
        let is = |party: &&Party| match party {
            Party::Role(role) => memberships.roles.contains(role),
            Party::Group(group) => groups.iter().any(|id| id.eq_ignore_ascii_case(group)),
        };
        let (holds, lacks) = self.named.iter().partition(is);
        let owned = |parties: Vec<&Party>| parties.into_iter().cloned().collect();
        Membership { holds: owned(holds), lacks: owned(lacks) }
    }

    /// Whether the rules let this user use the resource. Says nothing about its tools.
    pub fn admits(&self, membership: &Membership, resource: &str) -> Result<(), NoAccess> {
        if !membership.covers(&self.named) {
            return Err(NoAccess::Unknown);
        }
        if self.sign_in.as_ref().is_some_and(|requirement| !membership.meets(requirement)) {
            return Err(NoAccess::SignIn);
        }
        match self.allow(resource) {
            Some(requirement) if !membership.meets(requirement) => Err(NoAccess::Upstream),
            _ => Ok(()),
        }
    }

    /// Whether it may be for groups that Entra did not tell that somebody is not let in. What asks for roles alone is clear.
    pub fn hangs_on_groups(&self, cause: NoAccess, resource: &str) -> bool {
        let requirement = match cause {
            NoAccess::Unknown | NoAccess::Tenant => None,
            NoAccess::SignIn => self.sign_in.as_ref(),
            NoAccess::Upstream => self.allow(resource),
        };
        requirement.is_some_and(Requirement::names_groups)
    }

    /// Whether any rule names a group.
    pub fn names_groups(&self) -> bool {
        self.named.iter().any(|party| matches!(party, Party::Group(_)))
    }

    /// How many roles and groups the rules name.
    pub fn named(&self) -> usize {
        self.named.len()
    }

    fn allow(&self, resource: &str) -> Option<&Requirement> {
        self.upstreams.iter().find(|(url, _)| url == resource).map(|(_, allow)| allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MCP: &str = "https://mcp.example.com/mcp";
    const OTHER: &str = "https://mcp.example.com/other";
    const GROUP: &str = "8a3fa1c4-972d-4e6b-8615-be427f9d5301";

    fn role(value: &str) -> Party {
        Party::Role(value.into())
    }

    fn access(sign_in: &[Party], allow: &[Party], tool: &[Party]) -> Access {
        let some = |parties: &[Party]| (!parties.is_empty()).then(|| Requirement::any_of(parties.to_vec()));
        let who = some(tool).map_or(Who::Everyone, Who::Only);
        let tools = ToolRules::new(vec![ToolRule { tools: vec!["x".parse().unwrap()], who }]);
        Access::new(some(sign_in), [(MCP.to_owned(), &UpstreamAccess { allow: some(allow), tools })])
    }

    fn user(roles: &[&str], groups: Groups) -> Memberships {
        Memberships { roles: roles.iter().map(|role| (*role).to_owned()).collect(), groups }
    }

    fn told(groups: &[&str]) -> Groups {
        Groups::Told(groups.iter().map(|group| (*group).to_owned()).collect())
    }

    #[test]
    fn without_rules_everybody_may_and_nothing_is_kept() {
        let access = Access::default();
        let kept = access.of(&user(&["Any"], told(&[GROUP])));
        assert_eq!(kept, Membership::default());
        assert_eq!(access.admits(&kept, MCP), Ok(()));
    }

    #[test]
    fn each_rule_stands_by_itself() {
        let access = access(&[role("Edge.User"), Party::Group(GROUP.into())], &[role("Graph.User")], &[]);
        for (memberships, here, there) in [
            (user(&[], told(&[])), Err(NoAccess::SignIn), Err(NoAccess::SignIn)),
            (user(&["Graph.User"], told(&[])), Err(NoAccess::SignIn), Err(NoAccess::SignIn)),
            (user(&["Edge.User"], told(&[])), Err(NoAccess::Upstream), Ok(())),
            (user(&["edge.user", "Graph.User"], told(&[])), Err(NoAccess::SignIn), Err(NoAccess::SignIn)),
            (user(&["Edge.User", "Graph.User", "More"], told(&["x"])), Ok(()), Ok(())),
            (user(&["Graph.User"], told(&[&GROUP.to_uppercase()])), Ok(()), Ok(())),
            (user(&["Graph.User"], Groups::TooMany), Err(NoAccess::SignIn), Err(NoAccess::SignIn)),
            // The value of a role is no group, and the other way round.
            (user(&["Graph.User", GROUP], told(&["Edge.User"])), Err(NoAccess::SignIn), Err(NoAccess::SignIn)),
        ] {
            let kept = access.of(&memberships);
            assert_eq!((access.admits(&kept, MCP), access.admits(&kept, OTHER)), (here, there), "{memberships:?}");
        }
    }

    #[test]
    fn a_session_that_is_older_than_a_name_in_the_rules_is_over() {
        let everything = user(&["Edge.User", "Tool.User"], told(&[]));
        let before = access(&[role("Edge.User")], &[], &[]);
        let kept = before.of(&everything);
        assert_eq!(before.admits(&kept, MCP), Ok(()));
        let after = access(&[role("Edge.User")], &[], &[role("Tool.User")]);
        assert_eq!(after.admits(&kept, MCP), Err(NoAccess::Unknown));
        assert_eq!(after.admits(&Membership::default(), MCP), Err(NoAccess::Unknown));
        assert_eq!(after.admits(&after.of(&everything), MCP), Ok(()));
        // A name that has left the rules leaves sessions as they are.
        assert_eq!(before.admits(&after.of(&everything), MCP), Ok(()));
    }

    #[test]
    fn only_what_a_rule_names_is_kept() {
        let access = access(&[role("Edge.User")], &[], &[Party::Group(GROUP.into())]);
        let kept = access.of(&user(&["Edge.User", "Secret.Role"], told(&["other"])));
        assert_eq!(kept, Membership { holds: vec![role("Edge.User")], lacks: vec![Party::Group(GROUP.into())] });
    }

    #[test]
    fn what_hangs_on_groups_is_known() {
        let access = access(&[role("Edge.User")], &[role("A"), Party::Group(GROUP.into())], &[]);
        assert!(access.hangs_on_groups(NoAccess::Upstream, MCP) && access.names_groups());
        assert!(!access.hangs_on_groups(NoAccess::SignIn, MCP) && !access.hangs_on_groups(NoAccess::Upstream, OTHER));
    }
}
