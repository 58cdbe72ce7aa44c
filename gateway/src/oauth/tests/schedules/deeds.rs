//! What clients, users and operators do at a replica, and what came of it.

use std::sync::Arc;

use super::super::support::{self, RESOURCE};
use super::replicas::{self, Told};
use super::world::{Answer, Span, Step};
use crate::oauth::AuthorizationServer;
use crate::oauth::records::AuthorizationRequest;
use crate::sealed::Index;

/// Something that somebody does.
#[derive(Clone)]
pub enum Deed {
    SignIn {
        user: String,
        entra_token: String,
        entra_lives: u64,
    },
    Redeem {
        code: String,
        client: Who,
        right: bool,
    },
    Refresh {
        token: String,
        generation: u32,
        client: Who,
    },
    SignOut {
        token: String,
        client: Who,
    },
    /// By an operator: all sessions of a user.
    Revoke {
        user: String,
    },
    /// `elsewhere`: at another resource than the token's.
    Call {
        token: String,
        expires: Span,
        elsewhere: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Owner,
    Other,
}

/// What came of a deed.
pub enum Outcome {
    /// With the code, if there is one.
    SignedIn(Option<String>),
    Told(Result<Told, String>),
    /// And how many sessions were ended there.
    Ended(Result<(Answer, usize), String>),
    /// For which session, and with what of Entra's.
    Called(Answer, Option<(Index, String)>),
}

/// Who does it, at which server.
pub struct Scene {
    pub server: Arc<AuthorizationServer>,
    pub owner: support::Client,
    pub other: support::Client,
    pub request: AuthorizationRequest,
}

impl Deed {
    pub async fn done(self, scene: Scene) -> Outcome {
        let Scene { server, owner, other, request } = scene;
        let client = |who| if who == Who::Owner { &owner } else { &other };
        match self {
            Deed::SignIn { user, entra_token, entra_lives } => {
                Outcome::SignedIn(replicas::sign_in(&server, &request, &user, &entra_token, entra_lives).await)
            }
            Deed::Redeem { code, client: who, right } => {
                Outcome::Told(replicas::redeem(&server, client(who), &code, right).await)
            }
            Deed::Refresh { token, client: who, .. } => {
                Outcome::Told(replicas::refresh(&server, client(who), &token).await)
            }
            Deed::SignOut { token, client: who } => {
                Outcome::Ended(replicas::sign_out(&server, client(who), &token).await)
            }
            Deed::Revoke { user } => Outcome::Ended(replicas::revoke(&server, &user).await),
            Deed::Call { token, elsewhere, .. } => {
                let resource = if elsewhere { "http://localhost:8080/other" } else { RESOURCE };
                let (answer, admitted) = replicas::call(&server, &token, resource).await;
                Outcome::Called(answer, admitted)
            }
        }
    }

    /// As the model knows it.
    pub fn step(&self) -> Option<Step> {
        Some(match self {
            Deed::Redeem { client, right, .. } => Step::Redeem { proven: (*client == Who::Owner).then_some(*right) },
            Deed::Refresh { generation, client, .. } => {
                Step::Refresh { generation: *generation, by_owner: *client == Who::Owner }
            }
            Deed::SignOut { client, .. } => Step::SignOut { by_owner: *client == Who::Owner },
            Deed::Revoke { .. } => Step::Revoke { surely: true },
            Deed::SignIn { .. } | Deed::Call { .. } => return None,
        })
    }

    /// What the name does not say.
    pub fn details(&self) -> String {
        match self {
            Deed::SignIn { user, entra_token, entra_lives } => {
                format!(" of {user}, with {entra_token} for {entra_lives} s")
            }
            Deed::Redeem { code, .. } => format!(" of …{}", ending(code)),
            Deed::Refresh { token, generation, .. } => format!(" of generation {generation}, …{}", ending(token)),
            Deed::SignOut { token, .. } | Deed::Call { token, .. } => format!(" with …{}", ending(token)),
            Deed::Revoke { user } => format!(" of {user}"),
        }
    }

    /// For people, and for counts.
    pub fn name(&self) -> &'static str {
        match self {
            Deed::SignIn { .. } => "sign in",
            Deed::Redeem { client: Who::Other, .. } => "redeem as another client",
            Deed::Redeem { right: false, .. } => "redeem with a wrong verifier",
            Deed::Redeem { .. } => "redeem",
            Deed::Refresh { client: Who::Other, .. } => "refresh as another client",
            Deed::Refresh { .. } => "refresh",
            Deed::SignOut { client: Who::Other, .. } => "sign out as another client",
            Deed::SignOut { .. } => "sign out",
            Deed::Revoke { .. } => "revoke",
            Deed::Call { elsewhere: true, .. } => "call another resource",
            Deed::Call { .. } => "call",
        }
    }
}

/// Tells tokens apart.
fn ending(token: &str) -> &str {
    &token[token.len().saturating_sub(6)..]
}
