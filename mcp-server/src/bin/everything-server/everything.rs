//! The server as rmcp sees it: lists, prompts, resources, subscriptions. Tool calls go on in [`crate::tools`].

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, GetPromptRequestParams, GetPromptResponse,
    GetPromptResult, GetTaskParams, GetTaskResult, Implementation, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ServerCapabilities, ServerConfig, SetLevelRequestMethod,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::sync::broadcast;

use crate::fixtures::FIXTURES;
use crate::{rounds, tools};

/// One for all sessions and requests. Cheap to clone.
#[derive(Clone)]
pub struct Everything {
    /// For the tool that closes the stream it is called on.
    pub sessions: Arc<LocalSessionManager>,
    pub tasks: TaskManager,
    changes: broadcast::Sender<Change>,
}

/// What a tool can announce to those who listen (`subscriptions/listen`).
#[derive(Clone, Copy)]
pub enum Change {
    Tools,
    Prompts,
}

impl Everything {
    pub fn new(sessions: Arc<LocalSessionManager>) -> Self {
        Self { sessions, tasks: TaskManager::new(), changes: broadcast::Sender::new(CHANGES_KEPT) }
    }

    /// That nobody listens is no error.
    pub fn announce(&self, change: Change) {
        drop(self.changes.send(change));
    }
}

type Context = RequestContext<RoleServer>;
type Outcome<T> = Result<T, ErrorData>;

impl ServerHandler for Everything {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("everything-server", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: Context) -> Outcome<ListToolsResult> {
        Ok(ListToolsResult::with_all_items(FIXTURES.tools.clone()))
    }

    /// rmcp asks for the schema whose parameters must also stand in headers (SEP-2243).
    fn get_tool(&self, name: &str) -> Option<Tool> {
        FIXTURES.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: Context) -> Outcome<CallToolResponse> {
        tools::call(self, request, &context).await
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: Context) -> Outcome<ListPromptsResult> {
        Ok(ListPromptsResult::with_all_items(FIXTURES.prompts.clone()))
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, context: Context) -> Outcome<GetPromptResponse> {
        if let Some(rounds) = FIXTURES.rounds(&request.name) {
            let given = rounds::Given { responses: request.input_responses, state: request.request_state };
            if let rounds::Next::Ask(ask) = rounds::next(&rounds, given, context.client_capabilities())? {
                return Ok(ask.into());
            }
        }
        let messages = FIXTURES.messages(&request.name, &request.arguments.unwrap_or_default());
        let messages = messages.ok_or_else(|| ErrorData::invalid_params("unknown prompt", None))?;
        Ok(GetPromptResult::new(messages).into())
    }

    async fn list_resources(&self, _: Option<PaginatedRequestParams>, _: Context) -> Outcome<ListResourcesResult> {
        Ok(ListResourcesResult::with_all_items(FIXTURES.resources.clone()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Outcome<ListResourceTemplatesResult> {
        Ok(ListResourceTemplatesResult::with_all_items(FIXTURES.templates.clone()))
    }

    async fn read_resource(&self, request: ReadResourceRequestParams, _: Context) -> Outcome<ReadResourceResponse> {
        match FIXTURES.contents(&request.uri) {
            Some(contents) => Ok(ReadResourceResult::new(vec![contents]).into()),
            None => {
                let data = serde_json::json!({ "uri": request.uri });
                Err(ErrorData::resource_not_found("Resource not found", Some(data)))
            }
        }
    }

    /// Accepted and nothing more: all there is to log is of the level `info`, and the suite wants it.
    async fn set_level(&self, _: SetLevelRequestParams, context: Context) -> Outcome<()> {
        if is_modern(&context) { Err(ErrorData::method_not_found::<SetLevelRequestMethod>()) } else { Ok(()) }
    }

    /// No resource here ever changes.
    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Outcome<()> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Outcome<()> {
        Ok(())
    }

    async fn get_task(&self, request: GetTaskParams, _: Context) -> Outcome<GetTaskResult> {
        Ok(GetTaskResult::new(self.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(&self, request: UpdateTaskParams, _: Context) -> Outcome<()> {
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: Context) -> Outcome<()> {
        self.tasks.cancel_task(&request.task_id)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Outcome<()> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = context.cancelled() => return Ok(()),
            };
            let (accepted, sink) = (context.accepted(), context.sink());
            let sent = match change {
                Ok(Change::Tools) if accepted.tools_list_changed == Some(true) => sink.notify_tool_list_changed().await,
                Ok(Change::Prompts) if accepted.prompts_list_changed == Some(true) => {
                    sink.notify_prompt_list_changed().await
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
            sent.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        }
    }
}

/// Whether the request is of the protocol without sessions.
pub fn is_modern(context: &Context) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

const CHANGES_KEPT: usize = 64;
