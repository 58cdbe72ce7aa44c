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
pub(super) async fn call(shared: &Shared, caller: &Caller) -> CallToolResult {
    match details(shared, caller).await {
        Ok(details) => succeeded(details),
        Err(reason) => CallToolResult::structured_error(json!({"success": false, "error": reason})),
    }
}

/// The sample's answer: Graph's fields and a mark of success.
#[derive(Serialize, JsonSchema)]
struct Answer {
    #[serde(flatten)]
    details: UserDetails,
    success: bool,
}

async fn details(shared: &Shared, caller: &Caller) -> Result<UserDetails, &'static str> {
    let token = shared.exchange.token(caller.user(), caller.token(), shared.clock.now()).await.map_err(|error| {
        tracing::warn!(%error, "no Graph token on behalf of the user");
        match error {
            Error::UserMustAct(refusal) if refusal.suberror.as_deref() == Some("consent_required") => {
                "consent_required"
            }
            Error::UserMustAct(_) => "sign_in_required",
            Error::Refused(_) | Error::Untrusted(_) => "access_denied",
            Error::TryLater { .. } => "temporarily_unavailable",
            Error::SetUp(_) => "server_misconfigured",
        }
    })?;
    let details = shared.graph.me(&token).await.map_err(reason)?;
    // Belt and braces: whatever went wrong on the way, nobody sees another's details.
    if details.id != caller.user().user.object_id {
        tracing::error!("Graph answered for another user than the caller");
        return Err(reason(GraphError::Unreadable));
    }
    Ok(details)
}

fn reason(error: GraphError) -> &'static str {
    match error {
        GraphError::Unauthorized => "graph_unauthorized",
        GraphError::Forbidden => "graph_forbidden",
        GraphError::NotFound => "user_not_found",
        GraphError::Busy => "graph_busy",
        GraphError::Unavailable => "graph_unavailable",
        GraphError::Unreadable => "graph_unreadable",
    }
}

fn succeeded(details: UserDetails) -> CallToolResult {
    let answer = Answer { details, success: true };
    // The text keeps the order of the fields, for people; the structure is for programs.
    let text = serde_json::to_string_pretty(&answer).expect("strings and lists of strings are always JSON");
    let mut result = CallToolResult::structured(json!(answer));
    result.content = vec![ContentBlock::text(text)];
    result
}
