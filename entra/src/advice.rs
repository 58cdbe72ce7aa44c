//! What to do about the numbers of Entra's errors, for whoever set the applications up (entra.md 5.1 to 5.7). Words only: no
//! decision is made here.

/// What an operator does about a number; `None` for those that are a user's, or that nobody here has met.
pub fn advice(number: u32) -> Option<&'static str> {
    Some(match number {
        50011 => {
            "add the redirect URI to the gateway's app registration, under Authentication, platform Web, character by character"
        }
        90002 => {
            "entra.tenant_id is no tenant of this cloud: copy the directory id from the app registration's overview"
        }
        700016 => {
            "entra.client_id is no application of this tenant: copy the application id of the gateway's app registration, and \
             see that entra.tenant_id is its tenant"
        }
        500011 | 901002 => {
            "no application of this tenant has that Application ID URI: see Expose an API of the MCP server's app registration, \
             and put its URI into entra.scope (or the upstream's scope)"
        }
        650053 | 70011 | 1002012 => {
            "the MCP server's app registration exposes no such scope: add it under Expose an API, or correct entra.scope"
        }
        650057 => {
            "add the scope to the API permissions of the gateway's app registration, or the gateway to the authorized client \
             applications of the MCP server's"
        }
        65001 => {
            "nobody consented: preauthorise the gateway for the scope under Expose an API of the MCP server's app registration, \
             or grant admin consent"
        }
        9010010 | 28000 | 700022 => "ask for scopes of one resource only: correct entra.scope",
        50105 => "assign the user or a group of theirs under Enterprise applications, Users and groups",
        53003 | 53000 | 53001 => {
            "a Conditional Access policy forbids it: see the sign-in log of the tenant for which one"
        }
        50076 | 50079 => "a Conditional Access policy wants a second factor of the user",
        90072 => "the user is of another tenant and no guest of this one",
        70021 | 700211 | 700213 | 700214 => {
            "add a federated credential to the gateway's app registration with the issuer, subject and audience that `sallyport \
             doctor` prints, character by character. One that was added a moment ago takes some minutes to count"
        }
        700212 => {
            "the assertion is for another audience: the federated credential and the projected token must both have that of the \
             cloud (api://AzureADTokenExchange in the public one)"
        }
        90061 | 700222 => {
            "Entra cannot fetch the issuer's keys: its openid-configuration must be reachable from the Internet"
        }
        700024 => "the assertion is not valid now: set this machine's clock, and see that the token's file is renewed",
        700027 => {
            "Entra knows no key that signed the assertion: upload this very certificate to the app registration, or see that the \
             issuer publishes its key"
        }
        700226 | 700227 | 700229 | 7002121 => {
            "the assertion is none that a federated credential takes: it must be the service account's own token, or the \
             managed identity's of this tenant"
        }
        700231 | 700236 => "a token that was itself got by a federated credential serves as none: use the first one",
        7000215 => "the secret is wrong: put the secret's value into entra.credential.secret_file, not its id",
        7000222 => "the secret has expired: make another one, or better a federated credential",
        7000218 => "Entra was shown no credential: see [entra.credential]",
        7000112 => "the application is disabled: enable it under Enterprise applications, Properties",
        7000214 | 7000274 | 7000277 | 1000502 => {
            "the certificate is not among the app registration's, or has expired: upload the one of \
             entra.credential.certificate_file"
        }
        90055 | 50196 => "Entra is asked too often: wait some minutes",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KNOWN_CODES;

    /// The numbers that stop a gateway from signing anybody in.
    #[test]
    fn whatever_is_wrong_with_the_set_up_has_advice() {
        for number in [
            50011, 90002, 700016, 500011, 650053, 65001, 700213, 70021, 700212, 700024, 700027, 7000215, 7000222,
            7000112,
        ] {
            assert!(KNOWN_CODES.contains(&number), "{number}");
            let words = advice(number).unwrap();
            assert!(words.len() > 20 && !words.ends_with('.') && !words.contains("  "), "{words}");
        }
        assert_eq!(advice(1), None);
    }
}
