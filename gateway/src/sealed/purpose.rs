//! What a sealed value is for.

/// Each purpose has a key and a label of its own, so that a code never opens as a token, nor a cookie as a client id (T15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The opaque bearer token of an MCP client.
    AccessToken,
    /// What a client renews its access token with.
    RefreshToken,
    /// An authorization code on its way through the browser.
    AuthorizationCode,
    /// A client id that carries its own registration.
    Client,
    /// An upstream's session, as the client names it.
    McpSession,
    /// A validated authorization request between `/authorize` and `/consent`.
    AuthorizationRequest,
    ConsentStateCookie,
    EntraStateCookie,
    CsrfTokenCookie,
    ApprovedClientsCookie,
    DeniedClientsCookie,
    /// What operators see of a session.
    Listing,
    /// What must be asked of a user who signs in again.
    StepUp,
}

impl Purpose {
    pub const ALL: [Purpose; 13] = [
        Purpose::AccessToken,
        Purpose::RefreshToken,
        Purpose::AuthorizationCode,
        Purpose::Client,
        Purpose::McpSession,
        Purpose::AuthorizationRequest,
        Purpose::ConsentStateCookie,
        Purpose::EntraStateCookie,
        Purpose::CsrfTokenCookie,
        Purpose::ApprovedClientsCookie,
        Purpose::DeniedClientsCookie,
        Purpose::Listing,
        Purpose::StepUp,
    ];

    /// Names the purpose in key derivation and associated data. No label may ever change or be used twice.
    pub fn label(self) -> &'static str {
        match self {
            Purpose::AccessToken => "access-token",
            Purpose::RefreshToken => "refresh-token",
            Purpose::AuthorizationCode => "authorization-code",
            Purpose::Client => "client",
            Purpose::McpSession => "mcp-session",
            Purpose::AuthorizationRequest => "authorization-request",
            Purpose::ConsentStateCookie => "cookie-consent-state",
            Purpose::EntraStateCookie => "cookie-entra-state",
            Purpose::CsrfTokenCookie => "cookie-csrf-token",
            Purpose::ApprovedClientsCookie => "cookie-approved-clients",
            Purpose::DeniedClientsCookie => "cookie-denied-clients",
            Purpose::Listing => "listing",
            Purpose::StepUp => "step-up",
        }
    }

    /// Begins the text of what leaves the browser's cookie jar: cheap to refuse, and found by secret scanners.
    pub fn prefix(self) -> &'static str {
        match self {
            Purpose::AccessToken => "sp1_at_",
            Purpose::RefreshToken => "sp1_rt_",
            Purpose::AuthorizationCode => "sp1_ac_",
            Purpose::Client => "sp1_cl_",
            Purpose::McpSession => "sp1_ms_",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented::{names, rows};

    #[test]
    fn every_purpose_is_documented_with_its_prefix_and_label() {
        let documented: Vec<_> = rows("token-format.md", "## On the wire")
            .iter()
            .map(|cells| (names(&cells[1]).concat(), names(&cells[2]).concat()))
            .collect();
        let purposes = Purpose::ALL.map(|purpose| (purpose.prefix().to_owned(), purpose.label().to_owned()));
        assert_eq!(documented, purposes);
    }
}
