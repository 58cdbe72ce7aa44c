//! What an id_token says a user is: app roles of the application that it is for, and groups.

use serde_json::Value;

use super::{Claims, ClaimsError};

/// App roles by their values, and groups, of a user who has signed in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    pub roles: Vec<String>,
    pub groups: Groups,
}

/// Entra tells groups only to applications that want them, and only so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Object ids, if Entra is set up so. None at all when the application did not ask for them.
    Told(Vec<String>),
    /// There are too many for a token (more than 200 in a JWT): only where to ask is in it. That the user is in a group is not
    /// proven by it, and neither is the opposite.
    TooMany,
}

impl Default for Groups {
    fn default() -> Self {
        Groups::Told(Vec::new())
    }
}

impl Memberships {
    /// # Errors
    /// [`ClaimsError::Shape`]: a claim is no list of strings.
    pub(super) fn of(claims: &Claims) -> Result<Self, ClaimsError> {
        // The overage claim is `_claim_names` in a token of the token endpoint, and `hasgroups` in one of the implicit flow.
        let elsewhere = claims.claim_names.as_ref().is_some_and(|names| names.get("groups").is_some());
        let has_groups = claims.hasgroups.as_ref().is_some_and(|has| *has == Value::Bool(true) || *has == "true");
        let groups = match elsewhere || has_groups {
            true => Groups::TooMany,
            false => Groups::Told(texts(claims.groups.as_ref())?),
        };
        Ok(Self { roles: texts(claims.roles.as_ref())?, groups })
    }
}

fn texts(claim: Option<&Value>) -> Result<Vec<String>, ClaimsError> {
    let Some(claim) = claim else { return Ok(Vec::new()) };
    let items = claim.as_array().ok_or(ClaimsError::Shape)?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or(ClaimsError::Shape)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn memberships(more: Value) -> Result<Memberships, ClaimsError> {
        let mut claims = json!({"iss": "i", "aud": "a", "tid": "t", "exp": 0, "oid": "o", "sub": "s"});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Memberships::of(&serde_json::from_value(claims).unwrap())
    }

    #[test]
    fn roles_and_groups_are_what_the_token_says() {
        assert_eq!(memberships(json!({})).unwrap(), Memberships::default());
        let told = memberships(json!({"roles": ["Edge.User"], "groups": ["g1", "g2"]})).unwrap();
        assert_eq!(told.roles, ["Edge.User"]);
        assert_eq!(told.groups, Groups::Told(vec!["g1".into(), "g2".into()]));
    }

    #[test]
    fn too_many_groups_are_no_groups() {
        for more in [
            json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph"}}}),
            json!({"_claim_names": {"groups": "src1"}, "groups": ["g1"]}),
            json!({"hasgroups": true}),
            json!({"hasgroups": "true"}),
        ] {
            assert_eq!(memberships(more.clone()).unwrap().groups, Groups::TooMany, "{more}");
        }
        for more in [json!({"hasgroups": false}), json!({"_claim_names": {"other": "src1"}})] {
            assert_eq!(memberships(more.clone()).unwrap().groups, Groups::default(), "{more}");
        }
    }

    #[test]
    fn what_is_no_list_of_strings_is_not_believed() {
        for more in [json!({"roles": "Edge.User"}), json!({"roles": [1]}), json!({"groups": {"g1": true}})] {
            assert_eq!(memberships(more.clone()), Err(ClaimsError::Shape), "{more}");
        }
    }
}
