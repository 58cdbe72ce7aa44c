//! The tools that do more than answer: they log, tell their progress, ask the client, close their stream.

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientResult, ContentBlock,
    CreateMessageRequest, CreateMessageRequestParams, ElicitRequest, LoggingLevel, LoggingMessageNotification,
    LoggingMessageNotificationParam, ProgressNotificationParam, ResultType, SamplingMessage, ServerNotification,
    ServerRequest,
};
use rmcp::service::{RequestContext, ServiceError};
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::everything::{Change, Everything, is_modern};
use crate::fixtures::FIXTURES;
use crate::jobs::Job;
use crate::rounds;

type Context = RequestContext<RoleServer>;
type Done = Result<CallToolResult, ErrorData>;

/// # Errors
/// For a tool there is none of, and where the protocol wants an error rather than a result.
pub async fn call(
    server: &Everything,
    request: CallToolRequestParams,
    context: &Context,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(result) = FIXTURES.results.get(&*request.name) {
        let mut result = result.clone();
        result.result_type = Some(ResultType::COMPLETE);
        return Ok(result.into());
    }
    if let Some(job) = Job::of(&request.name, request.arguments.as_ref()) {
        return job.start(&server.tasks, context.client_capabilities()).await;
    }
    if let Some(rounds) = FIXTURES.rounds(&request.name) {
        let given = rounds::Given { responses: request.input_responses, state: request.request_state };
        let (responses, with_state) = match rounds::next(&rounds, given, context.client_capabilities())? {
            rounds::Next::Ask(ask) => return Ok(ask.into()),
            rounds::Next::Done { responses, with_state } => (responses, with_state),
        };
        let answer = format!("{}: {}", if with_state { "state-ok" } else { "no state" }, json!(responses));
        if request.name == "test_tool_with_task" {
            return Job::Tell(answer).start(&server.tasks, context.client_capabilities()).await;
        }
        return Ok(text(answer).into());
    }
    let argument = |name: &str| request.arguments.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let done = match &*request.name {
        "test_tool_with_logging" => logging(context).await,
        "test_logging_tool" => log(context, "called").await.map(|()| text("Logged, if that was wanted.")),
        "test_tool_with_progress" => progress(context).await,
        "test_reconnection" => reconnection(server, context).await,
        "test_missing_capability" => capability(context),
        "test_trigger_tool_change" => Ok(announced(server, Change::Tools)),
        "test_trigger_prompt_change" => Ok(announced(server, Change::Prompts)),
        "greet" => Ok(text(format!("Hello, {}!", argument("name").unwrap_or_default()))),
        "test_sampling" => sampling(context, &argument("prompt").unwrap_or_default()).await,
        name if FIXTURES.elicitations.contains_key(name) => elicitation(context, name, argument("message")).await,
        _ => Err(ErrorData::invalid_params("unknown tool", None)),
    };
    done.map(CallToolResponse::from)
}

async fn logging(context: &Context) -> Done {
    log(context, "Tool execution started").await?;
    sleep(PAUSE).await;
    log(context, "Tool processing data").await?;
    sleep(PAUSE).await;
    log(context, "Tool execution completed").await?;
    Ok(text("Three lines were logged."))
}

/// Requests without a session say themselves whether they want a log; in a session all is wanted.
async fn log(context: &Context, line: &str) -> Result<(), ErrorData> {
    if is_modern(context) && context.meta.log_level().is_none() {
        return Ok(());
    }
    let params = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(line));
    let notification = ServerNotification::LoggingMessageNotification(LoggingMessageNotification::new(params));
    context.peer.send_notification(notification).await.map_err(unsent)
}

async fn progress(context: &Context) -> Done {
    let token = context.meta.get_progress_token();
    for step in [0.0, 50.0, 100.0] {
        if step > 0.0 {
            sleep(PAUSE).await;
        }
        if let Some(token) = token.clone() {
            let progress = ProgressNotificationParam::new(token, step).with_total(100.0);
            context.peer.notify_progress(progress).await.map_err(unsent)?;
        }
    }
    Ok(text("All is done."))
}

/// Closes the stream of this call; the answer waits for whoever comes back with `Last-Event-ID` (SEP-1699). rmcp does not
/// tell a handler which of the session's streams is its own, so all of them are closed.
async fn reconnection(server: &Everything, context: &Context) -> Done {
    let parts = context.extensions.get::<http::request::Parts>();
    let id = parts.and_then(|parts| parts.headers.get("mcp-session-id")).and_then(|id| id.to_str().ok());
    let Some(id) = id else { return Ok(text("There is no session, so nothing to come back to.")) };
    let session = server.sessions.sessions.read().await.get(id).cloned();
    let session = session.ok_or_else(|| ErrorData::internal_error("the session has ended", None))?;
    sleep(PAUSE).await;
    for stream in 0..STREAMS {
        // An error says that this stream was over already.
        drop(session.close_sse_stream(stream, Some(COME_BACK_AFTER)).await);
    }
    sleep(PAUSE).await;
    Ok(text("The stream was closed, and here is the answer."))
}

fn capability(context: &Context) -> Done {
    if context.client_capabilities().is_some_and(|capabilities| capabilities.sampling.is_some()) {
        return Ok(text("The client can sample."));
    }
    let needed = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

fn announced(server: &Everything, change: Change) -> CallToolResult {
    server.announce(change);
    text("Announced.")
}

async fn sampling(context: &Context, prompt: &str) -> Done {
    let params = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    let request = ServerRequest::CreateMessageRequest(CreateMessageRequest::new(params));
    Ok(match context.peer.send_request(request).await {
        Ok(ClientResult::CreateMessageResult(result)) => {
            let content = serde_json::to_value(&result.message.content).map_err(|error| internal(&error))?;
            text(format!("LLM response: {}", said(&content)))
        }
        other => failed(&other),
    })
}

async fn elicitation(context: &Context, tool: &str, message: Option<String>) -> Done {
    let mut params = FIXTURES.elicitations[tool].clone();
    if let Some(message) = message {
        params["message"] = message.into();
    }
    let params = serde_json::from_value(params).map_err(|error| internal(&error))?;
    let request = ServerRequest::ElicitRequest(ElicitRequest::new(params));
    Ok(match context.peer.send_request(request).await {
        Ok(ClientResult::ElicitResult(result)) => {
            let action = json!(result.action);
            let (action, content) = (action.as_str().unwrap_or_default(), json!(result.content));
            text(format!("Elicitation completed: action={action}, content={content}"))
        }
        other => failed(&other),
    })
}

/// The text in a model's answer, which is one block or a list of them.
fn said(content: &Value) -> &str {
    let block = content.get(0).unwrap_or(content);
    block["text"].as_str().unwrap_or_default()
}

fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failed(answer: &Result<ClientResult, ServiceError>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(format!("the client did not answer as it should: {answer:?}"))])
}

fn unsent(error: ServiceError) -> ErrorData {
    internal(&error)
}

fn internal(error: &dyn std::error::Error) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

/// As the suite describes its tools.
const PAUSE: Duration = Duration::from_millis(50);
const COME_BACK_AFTER: Duration = Duration::from_millis(200);
/// No session of the suite has more.
const STREAMS: u64 = 16;
