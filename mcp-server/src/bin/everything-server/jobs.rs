//! Tools that go on as tasks (SEP-2663, an extension): the call is answered at once, the result is fetched later.

use std::time::Duration;

use futures_util::future::try_join_all;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult, InputRequests, JsonObject,
};
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::fixtures::FIXTURES;

/// What is to be done.
pub enum Job {
    Compute {
        seconds: u64,
    },
    Fail,
    Break,
    Confirm,
    AskTwice,
    /// What a client has answered before the task began.
    Tell(String),
}

impl Job {
    pub fn of(tool: &str, arguments: Option<&JsonObject>) -> Option<Self> {
        Some(match tool {
            "slow_compute" => {
                let seconds = arguments.and_then(|arguments| arguments.get("seconds")).and_then(Value::as_u64);
                Self::Compute { seconds: seconds.unwrap_or_default() }
            }
            "failing_job" => Self::Fail,
            "protocol_error_job" => Self::Break,
            "confirm_delete" => Self::Confirm,
            "multi_input" => Self::AskTwice,
            _ => return None,
        })
    }

    /// Begins it as a task.
    ///
    /// # Errors
    /// For a client that knows no tasks, unless it can wait for the result.
    pub async fn start(
        self,
        tasks: &TaskManager,
        capabilities: Option<ClientCapabilities>,
    ) -> Result<CallToolResponse, ErrorData> {
        if capabilities.is_some_and(|capabilities| capabilities.supports_tasks()) {
            let options = TaskOptions::new().with_poll_interval_ms(POLL_EVERY_MS);
            let task = tasks.spawn(options, |task| {
                Box::pin(async move {
                    tokio::select! {
                        done = self.work(&task) => done,
                        () = task.cancelled() => Err(TaskExit::Cancelled),
                    }
                })
            });
            return Ok(CallToolResponse::Task(CreateTaskResult::new(task)));
        }
        let Self::Compute { seconds } = self else {
            let needed = ClientCapabilities::builder().enable_tasks().build();
            return Err(ErrorData::missing_required_client_capability(needed));
        };
        Ok(computed(seconds).await.into())
    }

    async fn work(self, task: &TaskContext) -> Result<CallToolResult, TaskExit> {
        match self {
            Self::Compute { seconds } => Ok(computed(seconds).await),
            Self::Fail => {
                sleep(A_WHILE).await;
                Ok(CallToolResult::error(vec![ContentBlock::text("This job always fails.")]))
            }
            Self::Break => Err(ErrorData::internal_error("this job always breaks", None).into()),
            Self::Confirm => asked(task, FIXTURES.inputs("confirmation")).await,
            Self::AskTwice => asked(task, FIXTURES.inputs("two")).await,
            Self::Tell(what) => Ok(text(what)),
        }
    }
}

async fn computed(seconds: u64) -> CallToolResult {
    sleep(Duration::from_secs(seconds)).await;
    text(format!("It took {seconds} seconds."))
}

/// Asks all at once; the answers come with `tasks/update`, in any order.
async fn asked(task: &TaskContext, requests: &InputRequests) -> Result<CallToolResult, TaskExit> {
    let asked = requests.iter().map(|(key, request)| task.request_input(key, request.clone()));
    Ok(text(json!(try_join_all(asked).await?).to_string()))
}

fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

const POLL_EVERY_MS: u64 = 100;
/// As the suite describes that tool.
const A_WHILE: Duration = Duration::from_secs(1);
