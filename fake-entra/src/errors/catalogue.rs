//! AADSTS numbers the stand-in can answer with, by itself or as a scripted fault.

/// What is known of a number.
pub(crate) struct Known {
    pub error: &'static str,
    pub suberror: Option<&'static str>,
    /// The error carries a claims challenge.
    pub challenge: bool,
    pub text: &'static str,
}

const fn plain(error: &'static str, text: &'static str) -> Known {
    Known { error, suberror: None, challenge: false, text }
}

const fn sub(error: &'static str, suberror: &'static str, challenge: bool, text: &'static str) -> Known {
    Known { error, suberror: Some(suberror), challenge, text }
}

/// The entry of a number; numbers outside the table are `invalid_request` without a text of their own.
pub(crate) fn known(code: u32) -> Known {
    match code {
        // The request itself.
        28000 => plain("invalid_request", "The scope names more than one resource."),
        28003 => plain(
            "invalid_grant",
            "Provided value for the input parameter scope cannot be empty when requesting an access token using the \
             provided authorization code. Please specify a valid scope.",
        ),
        50011 => plain("invalid_request", "The redirect URI does not match the ones configured for the application."),
        50049 => plain("invalid_instance", "Unknown or invalid instance."),
        50059 => plain(
            "invalid_request",
            "No tenant-identifying information found in either the request or implied by any provided credentials.",
        ),
        50194 => plain("invalid_request", "The application is not configured as a multi-tenant application."),
        65001 => sub("invalid_grant", "consent_required", false, "The user or administrator has not consented."),
        65004 => plain("access_denied", "User declined to consent to access the app."),
        70003 => plain("unsupported_grant_type", "The app requested an unsupported grant type."),
        70011 => plain("invalid_scope", "The provided value for the input parameter 'scope' is not valid."),
        90002 => plain("invalid_request", "The tenant was not found."),
        90008 => plain(
            "invalid_request",
            "The application must require access to Microsoft Graph by specifying at least 'Sign in and read user profile'.",
        ),
        90009 => plain(
            "invalid_request",
            "Application is requesting a token for itself. This is supported only if the resource is named by the GUID.",
        ),
        90023 => plain("invalid_request", "A parameter has a value that is not valid."),
        500011 => plain("invalid_resource", "The resource principal was not found in the tenant."),
        501491 => plain("invalid_request", "Invalid size of Code_Challenge parameter."),
        650053 => plain("invalid_client", "The application asked for a scope that does not exist on the resource."),
        700016 => plain("unauthorized_client", "The application was not found in the directory."),
        700054 => plain("unsupported_response_type", "The response_type is not enabled for the application."),
        900144 => plain("invalid_request", "A parameter is missing from the request body."),
        900439 => plain("invalid_request", "The application is not allowed in this cloud."),
        900971 => plain("invalid_request", "No reply address provided."),
        901002 => plain("invalid_request", "The 'resource' request parameter is not supported."),
        1002012 => plain(
            "invalid_scope",
            "The provided value for scope is not valid. Client credential flows must have a scope value with /.default \
             suffixed to the resource identifier (application ID URI).",
        ),
        9000411 => plain("invalid_request", "The request is not properly formatted: a parameter is duplicated."),
        9002326 => plain(
            "invalid_request",
            "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type.",
        ),
        9002327 => plain(
            "invalid_request",
            "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.",
        ),
        9010010 => plain(
            "invalid_target",
            "The resource parameter provided in the request doesn't match with the requested scopes.",
        ),

        // The person.
        16000 => plain("interaction_required", "Several users are signed in; one must be chosen."),
        50020 => plain(
            "invalid_grant",
            "The user account does not exist in the tenant and cannot access the application there.",
        ),
        50034 => plain("invalid_grant", "The user account does not exist in the directory."),
        50055 => sub("invalid_grant", "user_password_expired", false, "The password is expired."),
        50057 => plain("invalid_grant", "The user account is disabled."),
        50058 => plain("login_required", "A silent sign-in request was sent but no user is signed in."),
        50089 => plain("invalid_grant", "The sign-in took too long or was finished already. Start again."),
        50105 => plain("invalid_grant", "The signed in user is not assigned to a role for the application."),
        50076 => sub(
            "invalid_grant",
            "basic_action",
            true,
            "Due to a configuration change made by your administrator, or because you moved to a new location, you must \
             use multi-factor authentication to access the resource.",
        ),
        50079 => sub(
            "invalid_grant",
            "basic_action",
            true,
            "Due to a configuration change made by your administrator, or because you moved to a new location, you must \
             enroll in multi-factor authentication.",
        ),
        53000 => sub("invalid_grant", "device_authentication_failed", true, "The device is not compliant."),
        53003 => sub(
            "invalid_grant",
            "message_only",
            false,
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
        ),

        // Codes, refresh tokens, assertions of users.
        50013 => plain("invalid_grant", "Assertion failed signature validation."),
        50173 => sub(
            "invalid_grant",
            "bad_token",
            false,
            "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
        ),
        54005 => plain(
            "invalid_grant",
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing \
             refresh token.",
        ),
        70000 => plain("invalid_grant", "The provided value for the grant is not valid."),
        70008 => plain("invalid_grant", "The provided authorization code or refresh token has expired."),
        70043 => sub(
            "invalid_grant",
            "token_expired",
            false,
            "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access.",
        ),
        240002 => plain(
            "invalid_grant",
            "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.",
        ),
        500131 => plain("invalid_grant", "Assertion audience does not match the Client app presenting the assertion."),
        500133 => plain("invalid_grant", "Assertion is not within its valid time range."),
        501481 => plain(
            "invalid_grant",
            "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
        ),
        700005 => plain("invalid_grant", "The authorization code was issued to another client."),
        700082 => sub("invalid_grant", "token_expired", false, "The refresh token has expired due to inactivity."),
        700084 => sub("invalid_grant", "token_expired", false, "The refresh token was issued to a single page app."),
        7000114 => plain("invalid_grant", "Application is not allowed to make application on-behalf-of calls."),

        // Client authentication.
        50027 => plain("invalid_request", "JWT token is invalid or malformed."),
        70021 => plain("invalid_request", "No matching federated identity record found for presented assertion."),
        700211 => {
            plain("invalid_client", "No matching federated identity record found for presented assertion issuer.")
        }
        700212 => {
            plain("invalid_client", "No matching federated identity record found for presented assertion audience.")
        }
        700213 => {
            plain("invalid_client", "No matching federated identity record found for presented assertion subject.")
        }
        700214 => plain("invalid_client", "The federated credential names its audience by GUID; use the URI."),
        700222 => plain("invalid_client", "AAD-issued tokens may not be used for federated identity flows."),
        700226 => plain(
            "invalid_client",
            "Only tokens of managed identities may be presented where the issuer is the Microsoft identity platform.",
        ),
        700227 => plain("invalid_client", "The issuer of the assertion is not allowed for federated identity flows."),
        700229 => plain("invalid_client", "Only app-only tokens may be used as a federated identity credential."),
        700231 => plain(
            "invalid_client",
            "A token that was itself obtained by a federated identity credential may not be used as one.",
        ),
        700236 => plain("invalid_client", "A policy of the tenant does not allow this federated identity credential."),
        700021 => plain(
            "invalid_client",
            "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation.",
        ),
        700023 => plain("invalid_client", "Client assertion audience claim does not match Realm issuer."),
        700024 => plain("invalid_client", "Client assertion is not within its valid time range."),
        700027 => plain("invalid_client", "Client assertion failed signature validation."),
        90033 => plain("temporarily_unavailable", "A transient error has occurred. Please try again."),
        90055 => plain("temporarily_unavailable", "The server is busy: too many requests of this tenant."),
        90061 => plain("invalid_client", "Request to the external OIDC endpoint failed."),
        50196 => {
            plain("invalid_grant", "The server terminated an operation because it encountered a client request loop.")
        }
        7000215 => plain("invalid_client", "Invalid client secret provided."),
        7000218 => plain(
            "invalid_client",
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ),
        7000222 => plain("invalid_client", "The provided client secret keys are expired."),
        7002121 => {
            plain("invalid_client", "No matching federated identity record found for presented assertion audience.")
        }
        _ => plain("invalid_request", "The request was refused."),
    }
}
