//! The values that labels take. Each list is closed: what is not in it counts as [`OTHER`], so that no mistake makes series without
//! end. A test reads the sources and demands that every word given to a counter stands here.

/// A word that the list lacks; never seen in a program that is right.
pub const OTHER: &str = "other";

/// As `edge` names what a request is for.
pub const ROUTES: &[&str] = &["none", "oauth", "mcp", "mcp-sse", "mcp-message"];

/// `none`: the client went away before an answer.
pub const CODE_CLASSES: &[&str] = &["none", "2xx", "3xx", "4xx", "5xx"];

/// As `session::Tier`.
pub const TIERS: &[&str] = &["cache", "store", "stale"];

/// As `edge::challenge` names why a request was not admitted.
pub const REJECTIONS: &[&str] = &[
    "missing",
    "malformed",
    "unknown_key",
    "forged",
    "expired",
    "revoked",
    "ended",
    "no_access",
    "refused_upstream",
    "entra_unavailable",
    "store_unavailable",
    "store_unreadable",
];

/// As `edge::refusal` names what the edge itself says no to.
pub const REFUSALS: &[&str] = &[
    "foreign_host",
    "foreign_origin",
    "unknown_path",
    "unknown_session",
    "method",
    "token_in_query",
    "header_too_large",
    "body_too_large",
    "body_too_slow",
    "too_many_streams",
    "too_many_requests",
    "too_many_exchanges",
    "bad_request",
    "no_upstream",
    "upstream_slow",
    "upstream_failed",
    "internal",
];

/// Whoever counts by a limit names it.
pub const LIMITS: &[&str] = &[
    "connections",
    "connections_per_address",
    "files",
    "idle",
    "handshake_deadline",
    "header_deadline",
    "header_size",
    "body_size",
    "body_deadline",
    "write_timeout",
    "requests_per_connection",
    "resets",
    "requests",
    "refusals",
    "streams",
    "exchanges",
    "long_bodies",
    "registrations",
    "authorizations",
    "token_requests",
];

pub const ACCESS_REFUSALS: &[&str] =
    &["sign_in", "upstream", "tenant", "session", "tool", "unclear_body", "unclear_headers"];

pub const UPSTREAM_CAUSES: &[&str] = &["none_well", "slow", "failed", "refused_token", "insufficient_claims"];

/// Each address of a server is in one of them.
pub const SERVER_STATES: &[&str] = &["ready", "down", "ejected", "draining"];

pub const STREAM_ENDS: &[&str] = &["upstream", "client", "session", "idle", "lifetime", "drain", "broken"];

/// As `oauth` names its endpoints.
pub const ENDPOINTS: &[&str] =
    &["metadata", "register", "authorize", "consent", "callback", "connections", "signed_out", "token", "revoke"];

/// As `oauth::error` names why an endpoint said no; the pages by their codes.
pub const OAUTH_RESULTS: &[&str] = &[
    OK,
    "denied_by_user",
    "not_found",
    "method_not_allowed",
    "invalid_request",
    "invalid_client",
    "unauthorized_client",
    "invalid_grant",
    "invalid_target",
    "unsupported_grant_type",
    "invalid_redirect_uri",
    "invalid_client_metadata",
    "registration_closed",
    "store_unavailable",
    "entra_unavailable",
    "client_document_unavailable",
    "too_many",
    "unsupported_response_type",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
    "login_required",
    "consent_required",
    "interaction_required",
    "SP-1001",
    "SP-1002",
    "SP-1003",
    "SP-1004",
    "SP-1005",
    "SP-1006",
    "SP-1101",
    "SP-1201",
    "SP-1202",
    "SP-1203",
    "SP-1204",
    "SP-1205",
    "SP-1206",
    "SP-1301",
    "SP-1302",
    "SP-1303",
    "SP-1304",
    "SP-1305",
    "SP-1401",
    "SP-1901",
    "SP-1902",
];

pub const GRANTS: &[&str] = &["authorization_code", "refresh_token"];

/// As `oauth::error` names why a code or a refresh token gave no tokens.
pub const GRANT_RESULTS: &[&str] = &[
    OK,
    "foreign",
    "mismatch",
    "expired",
    "reused",
    "unreadable",
    "ended",
    "key_gone",
    "no_access",
    "step_up",
    "entra_refused",
    "invalid_request",
    "invalid_target",
    "store_unavailable",
    "entra_unavailable",
];

pub const KEY_STATES: &[&str] = &["next", "active", "open-only", "revoked"];

pub const CONNECTION_KINDS: &[&str] = &["new", "reused"];

/// What became of traces.
pub const TRACE_RESULTS: &[&str] = &["exported", "dropped", "failed"];

pub const OK: &str = "ok";
pub const FAILED: &str = "failed";
pub const RESULTS: &[&str] = &[OK, FAILED];
