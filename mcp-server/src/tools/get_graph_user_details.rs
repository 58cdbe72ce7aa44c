//! `get_graph_user_details`: the signed-in user, as Microsoft Graph knows them.

use entra::Error;
use rmcp::handler::server::tool::schema_for_output;
use rmcp::model::{CallToolResult, ContentBlock, Tool, ToolAnnotations};
use rmcp::schemars::{self, JsonSchema};
use serde::Serialize;
use serde_json::json;

use super::Shared;
use crate::auth::Caller;
use crate::graph::{GraphError, UserDetails};
use crate::step_up::{Objection, Unfit};

pub(super) const NAME: &str = "get_graph_user_details";

pub(super) fn tool() -> Tool {
    let no_arguments = json!({"type": "object", "properties": {}});
    let no_arguments = no_arguments.as_object().cloned().unwrap_or_default();
    Tool::new(NAME, "Get user details from Microsoft Graph.", no_arguments)
        .with_title("Graph user details")
        .with_raw_output_schema(schema_for_output::<Answer>())
        .with_annotations(ToolAnnotations::with_title("Graph user details").read_only(true).open_world(true))
}

/// Asks for the caller and nobody else; arguments have no say in it.
pub(super) async fn call(shared: &Shared, caller: &Caller, objection: Option<&Objection>) -> CallToolResult {
    let reason = match details(shared, caller).await {
        Ok(details) => return succeeded(details),
        Err(Failure::Reason(reason)) => reason,
        Err(Failure::Unfit(unfit)) => {
            if let Some(objection) = objection {
                objection.raise(unfit);
            }
            // For whom the answer has begun already.
            "sign_in_required"
        }
    };
    CallToolResult::structured_error(json!({"success": false, "error": reason}))
}

/// Why there are no details.
enum Failure {
    /// For people and models.
    Reason(&'static str),
    /// For the gateway.
    Unfit(Unfit),
}

/// What the gateway can do about a failed exchange, if anything (entra.md 5.7).
pub(super) fn unfit(error: &Error) -> Option<Unfit> {
    match error {
        Error::UserMustAct(refusal) if refusal.can_be_answered() => refusal.claims.clone().map(Unfit::Claims),
        // A dead assertion: the user's session at Entra is over, or the token is no more good for this.
        Error::Refused(refusal) if refusal.suberror.as_deref() != Some("message_only") => {
            (refusal.error == "invalid_grant").then_some(Unfit::Token)
        }
        _ => None,
    }
}

/// The sample's answer: Graph's fields and a mark of success.
#[derive(Serialize, JsonSchema)]
struct Answer {
    #[serde(flatten)]
    details: UserDetails,
    success: bool,
}

async fn details(shared: &Shared, caller: &Caller) -> Result<UserDetails, Failure> {
    let (exchange, now) = (&shared.exchange, shared.clock.now());
    let token = exchange.token(caller.user(), caller.token(), now).await.map_err(no_token)?;
    let details = match shared.graph.me(&token).await {
        Err(GraphError::Challenged(claims)) => {
            let answer = exchange.answer(caller.user(), caller.token(), &token, &claims, now).await;
            let token = answer.map_err(no_token)?;
            match shared.graph.me(&token).await {
                Err(GraphError::Challenged(claims)) => {
                    // Once more to Entra would be a loop: it is remembered, and nobody asked.
                    let answer = exchange.answer(caller.user(), caller.token(), &token, &claims, now).await;
                    return Err(answer.map_or_else(no_token, |_| Failure::Reason("sign_in_required")));
                }
                details => details,
            }
        }
        details => details,
    };
    let details = details.map_err(reason)?;
    // Belt and braces: whatever went wrong on the way, nobody sees another's details.
    if details.id != caller.user().user.object_id {
        tracing::error!("Graph answered for another user than the caller");
        return Err(reason(GraphError::Unreadable));
    }
    Ok(details)
}

fn no_token(error: Error) -> Failure {
    tracing::warn!(%error, "no Graph token on behalf of the user");
    if let Some(unfit) = unfit(&error) {
        return Failure::Unfit(unfit);
    }
    Failure::Reason(match error {
        Error::UserMustAct(refusal) if refusal.suberror.as_deref() == Some("consent_required") => "consent_required",
        Error::UserMustAct(_) => "sign_in_required",
        Error::Refused(_) | Error::Untrusted(_) | Error::OtherTenant { .. } => "access_denied",
        Error::TryLater { .. } => "temporarily_unavailable",
        Error::SetUp(_) => "server_misconfigured",
    })
}

fn reason(error: GraphError) -> Failure {
    Failure::Reason(match error {
        GraphError::Challenged(_) => "sign_in_required",
        GraphError::Unauthorized => "graph_unauthorized",
        GraphError::Forbidden => "graph_forbidden",
        GraphError::NotFound => "user_not_found",
        GraphError::Busy => "graph_busy",
        GraphError::Unavailable => "graph_unavailable",
        GraphError::Unreadable => "graph_unreadable",
    })
}

fn succeeded(details: UserDetails) -> CallToolResult {
    let answer = Answer { details, success: true };
    // The text keeps the order of the fields, for people; the structure is for programs.
    let text = serde_json::to_string_pretty(&answer).expect("strings and lists of strings are always JSON");
    let mut result = CallToolResult::structured(json!(answer));
    result.content = vec![ContentBlock::text(text)];
    result
}
