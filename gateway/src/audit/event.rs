//! What is noted: the kinds of events, and the fields that a line may have. docs/logs.md explains each; a test compares.

use super::{Context, Subject};
use crate::sealed::Index;

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    pub(super) kind: Kind,
    pub(super) outcome: Outcome,
    pub(super) context: Context,
    pub(super) who: Option<Subject>,
    /// SHA-256 of the client id.
    pub(super) client: Option<[u8; 32]>,
    pub(super) session: Option<Index>,
    pub(super) details: Vec<(Field, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// By our rules, or by the user.
    Refused,
    /// For trouble of somebody's.
    Failed,
}

/// Text is a stranger's until it is a line.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Box<str>),
    Number(u64),
    Flag(bool),
}

/// A name with what it is called in the line.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($variant,)*
        }

        impl $name {
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

named! {
    /// The kinds of events.
    Kind {
        LogOpened = "log-opened",
        SignInBegun = "sign-in-begun",
        SignInDone = "sign-in-done",
        SignInRefused = "sign-in-refused",
        ConsentAllowed = "consent-allowed",
        ConsentDenied = "consent-denied",
        ConsentRemembered = "consent-remembered",
        ConsentForgotten = "consent-forgotten",
        ClientRegistered = "client-registered",
        ClientRefused = "client-refused",
        GrantRefused = "grant-refused",
        TokenRejected = "token-rejected",
        AccessRefused = "access-refused",
        McpSessionRefused = "mcp-session-refused",
        ToolCall = "tool-call",
        SessionEnded = "session-ended",
        SessionsRevoked = "sessions-revoked",
        ServerDrained = "server-drained",
        ServerUndrained = "server-undrained",
        RingLoaded = "ring-loaded",
        RingRejected = "ring-rejected",
        ConfigReloaded = "config-reloaded",
        ConfigRejected = "config-rejected",
        KeyRotated = "key-rotated",
        KeyRevoked = "key-revoked",
    }
}

named! {
    /// The fields of a line, in their order. The first eleven are the common ones; the last four make the chain.
    Field {
        Time = "time",
        Sequence = "seq",
        Event = "event",
        Outcome = "outcome",
        Who = "who",
        Client = "client",
        Session = "session",
        Address = "address",
        RequestId = "request_id",
        TraceId = "trace_id",
        Code = "code",
        Reason = "reason",
        Cause = "cause",
        Reference = "reference",
        Resource = "resource",
        Upstream = "upstream",
        Name = "name",
        Remembered = "remembered",
        Method = "method",
        Tool = "tool",
        NamedBy = "named_by",
        Status = "status",
        Duration = "duration_ms",
        By = "by",
        Selector = "selector",
        Ended = "ended",
        Unknown = "unknown",
        Server = "server",
        Changed = "changed",
        AtNextStart = "at_next_start",
        ActiveKey = "active_key",
        OpeningKeys = "opening_keys",
        RingKey = "ring_key",
        Version = "version",
        LeftOut = "left_out",
        Missing = "missing",
        Key = "key",
        Previous = "prev",
        Proof = "mac",
    }
}

impl Kind {
    /// Whether anybody can cause it at will: such are noted up to a rate, and then counted.
    pub fn is_strangers(self) -> bool {
        match self {
            Kind::SignInBegun
            | Kind::SignInRefused
            | Kind::ConsentAllowed
            | Kind::ConsentDenied
            | Kind::ConsentRemembered
            | Kind::ConsentForgotten
            | Kind::ClientRegistered
            | Kind::ClientRefused
            | Kind::GrantRefused
            | Kind::TokenRejected => true,
            Kind::LogOpened
            | Kind::SignInDone
            | Kind::AccessRefused
            | Kind::McpSessionRefused
            | Kind::ToolCall
            | Kind::SessionEnded
            | Kind::SessionsRevoked
            | Kind::ServerDrained
            | Kind::ServerUndrained
            | Kind::RingLoaded
            | Kind::RingRejected
            | Kind::ConfigReloaded
            | Kind::ConfigRejected
            | Kind::KeyRotated
            | Kind::KeyRevoked => false,
        }
    }
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

impl Event {
    pub fn new(kind: Kind, outcome: Outcome) -> Self {
        let (context, details) = (Context::default(), Vec::new());
        Self { kind, outcome, context, who: None, client: None, session: None, details }
    }

    pub fn at(self, context: &Context) -> Self {
        Self { context: context.clone(), ..self }
    }

    pub fn who(self, who: Subject) -> Self {
        Self { who: Some(who), ..self }
    }

    /// SHA-256 of the client id.
    pub fn client(self, client: [u8; 32]) -> Self {
        Self { client: Some(client), ..self }
    }

    pub fn session(self, session: Index) -> Self {
        Self { session: Some(session), ..self }
    }

    /// A stranger's text may be of any kind, but not of any length: it waits in memory.
    pub fn text(mut self, field: Field, text: &str) -> Self {
        let end = text.floor_char_boundary(LONGEST_TEXT);
        self.details.push((field, Value::Text(text[..end].into())));
        self
    }

    pub fn number(mut self, field: Field, number: u64) -> Self {
        self.details.push((field, Value::Number(number)));
        self
    }

    pub fn flag(mut self, field: Field, flag: bool) -> Self {
        self.details.push((field, Value::Flag(flag)));
        self
    }
}

const LONGEST_TEXT: usize = 512;
