//! The tools, and what the server says of itself. One file per tool.

mod get_graph_user_details;

use std::sync::Arc;

use entra::Exchange;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::sync::RwLock;

use crate::auth::Caller;
use crate::clock::Clock;
use crate::graph::Graph;
use crate::step_up::{Objection, Unfit};

/// All tools with what they need. Cheap to clone: every session and stateless request has one.
#[derive(Clone)]
pub(crate) struct Tools(Arc<Shared>);

struct Shared {
    /// Read by every call under way; whoever may write knows that there is none.
    under_way: RwLock<()>,
    exchange: Exchange,
    graph: Graph,
    clock: Clock,
}

impl Tools {
    pub fn new(exchange: Exchange, graph: Graph, clock: Clock) -> Self {
        Self(Arc::new(Shared { under_way: RwLock::default(), exchange, graph, clock }))
    }

    /// Whether the tool of this name asks Graph for its caller.
    pub fn ask_graph(&self, name: &str) -> bool {
        name == get_graph_user_details::NAME
    }

    /// Whether a call with this token of the caller's must fail, as far as that is known.
    pub async fn known_unfit(&self, caller: &Caller) -> Option<Unfit> {
        let failure = self.0.exchange.known_failure(caller.token(), self.0.clock.now()).await;
        failure.as_ref().and_then(get_graph_user_details::unfit)
    }

    /// Waits until no call is under way. Calls that begin meanwhile wait until this future is dropped or done.
    pub async fn idle(&self) {
        drop(self.0.under_way.write().await);
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("sallyport-mcp-server", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut list = ListToolsResult::with_all_items(vec![get_graph_user_details::tool()]);
        // The list is the same for everybody and changes with the program only. Older revisions know no such hints.
        if context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28) {
            list.ttl_ms = Some(60_000);
            list.cache_scope = Some(CacheScope::Public);
        }
        Ok(list)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == get_graph_user_details::NAME).then(get_graph_user_details::tool)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name != get_graph_user_details::NAME {
            return Err(ErrorData::invalid_params("unknown tool", None));
        }
        let _under_way = self.0.under_way.read().await;
        // The parts of the HTTP request that made this very call. The door put the caller in; without one (a transport
        // that forgot) nothing runs.
        let parts = context.extensions.get::<http::request::Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        let Some(caller) = caller else {
            tracing::error!("a tool call without a verified caller");
            return Err(ErrorData::internal_error("no verified caller", None));
        };
        let objection = parts.and_then(|parts| parts.extensions.get::<Objection>());
        let result = get_graph_user_details::call(&self.0, caller, objection).await;
        if let Some(objection) = objection {
            objection.waive();
        }
        Ok(result.into())
    }
}
