//! Who may use what: `[access]`, and of an upstream `allow` and `[[upstream.tool_rule]]`.

use crate::access::{Access, Party, Requirement, ToolRule, ToolRules, UpstreamAccess, Who};
use crate::config::reader::Section;
use crate::config::values::guid;
use crate::server::UpstreamSettings;

/// Who may sign in. The inner `None`: everybody.
pub fn sign_in(section: &Section<'_>) -> Option<Option<Requirement>> {
    whole(section)
}

pub fn upstream(section: &Section<'_>) -> Option<UpstreamAccess> {
    let allow = whole(&section.section("allow"));
    let rules: Vec<_> = section.optional_sections("tool_rule").iter().map(tool_rule).collect();
    let tools = rules.into_iter().collect::<Option<_>>().map(ToolRules::new);
    Some(UpstreamAccess { allow: allow?, tools: tools? })
}

/// Each session keeps what its user is of all of them.
pub fn check_size(root: &Section<'_>, sign_in: Option<&Requirement>, upstreams: &[UpstreamSettings]) {
    let rules = upstreams.iter().map(|upstream| (upstream.path.clone(), &upstream.access));
    if Access::new(sign_in.cloned(), rules).named() > NAMED_AT_MOST {
        root.mistake("access", format!("and the upstreams name more than {NAMED_AT_MOST} roles and groups"));
    }
}

fn tool_rule(section: &Section<'_>) -> Option<ToolRule> {
    let tools = section.list("tools").required("names of tools, or beginnings with a *, such as delete_*");
    let tools = tools.each(|text| text.parse());
    let who = section.text("who").one_of(&[("everyone", true), ("nobody", false)]);
    let who_is_given = section.names().iter().any(|name| name == "who");
    let requirement = requirement(section);
    section.finish();
    let who = match (requirement?, who_is_given) {
        (Some(requirement), false) => Who::Only(requirement),
        (None, true) => {
            if who? {
                Who::Everyone
            } else {
                Who::Nobody
            }
        }
        (Some(_), true) => {
            section.mistake("who", "has no use beside roles and groups");
            return None;
        }
        (None, false) => {
            section.mistake("who", "is missing: give roles or groups, or who = \"nobody\" or \"everyone\"");
            return None;
        }
    };
    Some(ToolRule { tools: tools?, who })
}

/// A section with a requirement and nothing else. The inner `None`: it is not there.
fn whole(section: &Section<'_>) -> Option<Option<Requirement>> {
    let requirement = requirement(section);
    section.finish();
    if section.is_given() && matches!(requirement, Some(None)) {
        section.mistake("roles", "is missing, and so is groups: a rule says who may");
        return None;
    }
    requirement
}

/// Any one of the roles and groups of a section. The inner `None`: it names none. An empty list is a mistake, wherever it is
/// from: it could mean nobody as well as everybody.
fn requirement(section: &Section<'_>) -> Option<Option<Requirement>> {
    let what = "leave it out, or say who may";
    let roles = section.list("roles");
    let roles = if roles.is_absent() { Some(Vec::new()) } else { roles.not_empty(what).each(role) };
    let groups = section.list("groups");
    let group = |text: &str| guid(text).map_err(|_| GROUP);
    let groups = if groups.is_absent() { Some(Vec::new()) } else { groups.not_empty(what).each(group) };
    let roles = roles?.into_iter().map(Party::Role);
    let parties: Vec<_> = roles.chain(groups?.into_iter().map(Party::Group)).collect();
    Some((!parties.is_empty()).then(|| Requirement::any_of(parties)))
}

/// As Entra has the value of an app role.
fn role(text: &str) -> Result<String, &'static str> {
    if (1..=120).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("must be the value of an app role: up to 120 characters, no spaces")
}

const GROUP: &str = "must be the object id of a group, a GUID: names can change hands";
const NAMED_AT_MOST: usize = 100;
