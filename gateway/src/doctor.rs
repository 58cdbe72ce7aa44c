//! What is wrong with an installation, and what mends it: each part is asked as the edge would ask it, and nothing is changed
//! anywhere. `sallyport doctor` shows what is found; `server` makes the parts.
//!
//! | area | file | asks |
//! | --- | --- | --- |
//! | this machine | `machine` | limits of the process |
//! | keys | `keys` | the key ring's file |
//! | public URL | `public_url`, `certificate` | the edge, as a client finds it |
//! | Entra | `entra`, `assertion` | the authority, and whether it believes us |
//! | store | `redis` | Redis, as the edge's user |
//! | upstreams | `upstream` | every MCP server, as a client without a token |
//!
//! What others have said is shown in one line of visible text, and nothing secret is among it.

mod assertion;
mod certificate;
mod entra;
mod finding;
mod keys;
mod machine;
mod public_url;
mod redis;
mod upstream;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::server::Subject;
pub use finding::{Finding, Level};

/// One part of the installation, to be looked at whenever the others are.
pub struct Area {
    pub name: &'static str,
    pub findings: Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>,
}

/// All there is to look at. Each ends within a minute.
pub fn areas(subject: Subject) -> Vec<Area> {
    let subject = Arc::new(subject);
    let (one, two, three, four, five, six) =
        (subject.clone(), subject.clone(), subject.clone(), subject.clone(), subject.clone(), subject);
    vec![
        area("this machine", async move { machine::look(&one) }),
        area("the key ring", async move { keys::look(&two) }),
        area("the public URL", async move { public_url::look(&three).await }),
        area("Entra", async move { entra::look(&four).await }),
        area("the store", async move { redis::look(&five).await }),
        area("the upstreams", async move { upstream::look(&six).await }),
    ]
}

fn area(name: &'static str, look: impl Future<Output = Vec<Finding>> + Send + 'static) -> Area {
    let bounded = async move {
        timeout(PATIENCE, look).await.unwrap_or_else(|_| {
            let says = format!("did not answer within {} seconds", PATIENCE.as_secs());
            vec![Finding::fail(name, says, "see that it can be reached from this machine, then ask again")]
        })
    };
    Area { name, findings: Box::pin(bounded) }
}

/// Each question has a shorter one of its own.
const PATIENCE: Duration = Duration::from_secs(60);
