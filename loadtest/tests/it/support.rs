//! Targets, and what is sent to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use loadtest::target::Target;
use loadtest::work::{Expected, Work};
use tokio::net::TcpListener;

/// How a target answers its n-th request, counted from 0: after how long, and with what.
pub type Behaviour = fn(u64) -> (Duration, StatusCode);

/// Serves until the test's runtime ends.
pub async fn target(behaviour: Behaviour) -> Target {
    target_with(behaviour, r#"{"result":{}}"#).await
}

/// Likewise, with this body.
pub async fn target_with(behaviour: Behaviour, body: &'static str) -> Target {
    let count = Arc::new(AtomicU64::new(0));
    let answer = move || {
        let (pause, status) = behaviour(count.fetch_add(1, Ordering::Relaxed));
        async move {
            tokio::time::sleep(pause).await;
            (status, body)
        }
    };
    serve(Router::new().fallback(any(answer))).await
}

pub async fn serve(router: Router) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    url.parse().unwrap()
}

pub fn work(target: &Target) -> Arc<Work> {
    Arc::new(Work::tools_list(target, Expected::RESULT))
}
