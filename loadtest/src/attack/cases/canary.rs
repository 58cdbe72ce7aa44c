//! A listener on this machine that nobody has any business with: whoever connects was talked into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use url::Url;

use crate::attack::http::Trouble;
use crate::attack::is_loopback;

pub struct Canary {
    pub port: u16,
    hits: Arc<AtomicUsize>,
    /// Ends with the canary.
    _listening: JoinSet<()>,
}

impl Canary {
    /// # Errors
    /// When the target is on another machine, whose loopback this one cannot listen on.
    pub async fn listen(target: &Url) -> Result<Self, Trouble> {
        if !is_loopback(target) {
            return Err(Trouble::Unable(
                "the target runs on another machine, whose loopback cannot be watched".to_owned(),
            ));
        }
        let unable = |_| Trouble::Unable("no port to listen on".to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(unable)?;
        let port = listener.local_addr().map_err(unable)?.port();
        let hits = Arc::new(AtomicUsize::new(0));
        let mut listening = JoinSet::new();
        listening.spawn(count(listener, hits.clone()));
        // Where the machine has IPv6.
        if let Ok(listener) = TcpListener::bind(("::1", port)).await {
            listening.spawn(count(listener, hits.clone()));
        }
        Ok(Self { port, hits, _listening: listening })
    }

    /// How many came, when a target that works in the background has had its time.
    pub async fn hits(&self) -> usize {
        sleep(AFTERWARDS).await;
        self.hits.load(Ordering::Relaxed)
    }
}

async fn count(listener: TcpListener, hits: Arc<AtomicUsize>) {
    while listener.accept().await.is_ok() {
        hits.fetch_add(1, Ordering::Relaxed);
    }
}

const AFTERWARDS: Duration = Duration::from_secs(1);
