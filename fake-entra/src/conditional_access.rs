//! Conditional access as far as clients meet it: a policy blocks, or asks for something more than a sign-in.

use std::collections::BTreeSet;

use crate::directory::{ConditionalAccess, Effect, Seed, User};
use crate::errors::EntraError;

/// 53003 or 50076 if a policy stands between this user and that resource.
///
/// # Errors
/// 53003: blocked. 50076 with a challenge that names the policy: `satisfied` does not hold it yet.
pub(crate) fn check(
    directory: &Seed,
    user: &User,
    resource: &str,
    satisfied: &BTreeSet<String>,
) -> Result<(), EntraError> {
    let matching: Vec<_> = policies(directory, user, resource).collect();
    if matching.iter().any(|policy| policy.effect == Effect::Block) {
        return Err(EntraError::new(53003));
    }
    match matching.iter().find(|policy| !satisfied.contains(&policy.id)) {
        Some(policy) => Err(EntraError::challenge(resource, &policy.id)),
        None => Ok(()),
    }
}

/// Those that apply to this user at that resource.
pub(crate) fn policies<'a>(
    directory: &'a Seed,
    user: &'a User,
    resource: &'a str,
) -> impl Iterator<Item = &'a ConditionalAccess> {
    directory.policies.conditional_access.iter().filter(move |policy| {
        let of_user = |named: &String| *named == user.oid || named.eq_ignore_ascii_case(&user.upn);
        let of_resource = |named: &String| named.eq_ignore_ascii_case(resource);
        (policy.users.is_empty() || policy.users.iter().any(of_user))
            && (policy.resources.is_empty() || policy.resources.iter().any(of_resource))
    })
}
