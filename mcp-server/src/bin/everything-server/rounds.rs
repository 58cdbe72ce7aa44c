//! Results that want input first (SEP-2322): which round a request is in, what is asked next.
//!
//! The state that goes to the client and comes back is the number of the round and a secret of this process. Whoever has
//! seen one could make another; that does no harm in fixtures, and what was changed on the way is noticed.

use std::sync::LazyLock;

use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, ElicitationCapability, InputRequest, InputRequests, InputRequiredResult, InputResponses,
    RootsCapabilities, SamplingCapability,
};
use uuid::Uuid;

/// What the client sent along.
pub struct Given {
    pub responses: Option<InputResponses>,
    pub state: Option<String>,
}

pub enum Next {
    Ask(InputRequiredResult),
    /// All is answered: the last responses, and whether a state came back.
    Done {
        responses: InputResponses,
        with_state: bool,
    },
}

/// # Errors
/// For a state that is not ours, and for a client that can give nothing of what is needed.
pub fn next(
    rounds: &[&InputRequests],
    given: Given,
    capabilities: Option<ClientCapabilities>,
) -> Result<Next, ErrorData> {
    let with_state = given.state.is_some();
    let mut round = match given.state {
        Some(state) => opened(&state, rounds.len())?,
        None => 0,
    };
    let responses = given.responses.unwrap_or_default();
    let capabilities = capabilities.unwrap_or_default();
    let mut needed = possible(rounds[round], &capabilities)?;
    if needed.keys().all(|key| responses.get(key).is_some_and(serde_json::Value::is_object)) {
        round += 1;
        match rounds.get(round) {
            Some(requests) => needed = possible(requests, &capabilities)?,
            None => return Ok(Next::Done { responses, with_state }),
        }
    }
    Ok(Next::Ask(InputRequiredResult::new(Some(needed), Some(sealed(round)))))
}

static SECRET: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

fn sealed(round: usize) -> String {
    format!("{round}.{}", *SECRET)
}

fn opened(state: &str, rounds: usize) -> Result<usize, ErrorData> {
    (0..rounds)
        .find(|round| sealed(*round) == state)
        .ok_or_else(|| ErrorData::invalid_params("the request state was changed", None))
}

/// Only what the client says it can do may be asked of it.
fn possible(requests: &InputRequests, capabilities: &ClientCapabilities) -> Result<InputRequests, ErrorData> {
    let can = |request: &InputRequest| match request {
        InputRequest::CreateMessage(_) => capabilities.sampling.is_some(),
        InputRequest::Elicitation(_) => capabilities.elicitation.is_some(),
        InputRequest::ListRoots(_) => capabilities.roots.is_some(),
        _ => false,
    };
    let possible: InputRequests = requests
        .iter()
        .filter(|(_, request)| can(request))
        .map(|(key, request)| (key.clone(), request.clone()))
        .collect();
    if possible.is_empty() {
        Err(ErrorData::missing_required_client_capability(needed(requests)))
    } else {
        Ok(possible)
    }
}

fn needed(requests: &InputRequests) -> ClientCapabilities {
    let mut needed = ClientCapabilities::default();
    for request in requests.values() {
        match request {
            InputRequest::CreateMessage(_) => needed.sampling = Some(SamplingCapability::default()),
            InputRequest::Elicitation(_) => needed.elicitation = Some(ElicitationCapability::default()),
            InputRequest::ListRoots(_) => needed.roots = Some(RootsCapabilities::default()),
            _ => {}
        }
    }
    needed
}
