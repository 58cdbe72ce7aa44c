//! A gateway whose configuration a test replaces.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sallyport::access::UpstreamAccess;
use sallyport::pool;
use sallyport::public_url::PublicUrl;
use sallyport::server::{Fresh, Key, Keys, LiveSettings, ReloadSignal, Settings, UpstreamSettings};
use tokio::sync::Notify;

use crate::support::gateway::Gateway;

pub struct Rig {
    pub gateway: Gateway,
    next: Arc<Mutex<Next>>,
    asked: Arc<Asked>,
}

/// What the next reload finds.
struct Next {
    public_url: PublicUrl,
    live: LiveSettings,
    keys: Vec<(String, Key)>,
}

struct Asked(Notify);

#[async_trait]
impl ReloadSignal for Signal {
    async fn received(&self) {
        self.0.0.notified().await;
    }
}

struct Signal(Arc<Asked>);

impl Rig {
    pub async fn start(upstream: &str) -> Self {
        Self::start_changed(upstream, |_| {}).await
    }

    pub async fn start_changed(upstream: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let asked = Arc::new(Asked(Notify::new()));
        let signal = Signal(asked.clone());
        let mut next = None;
        let gateway = Gateway::start_reloading(upstream, change, |settings| {
            let found = Next { public_url: settings.public_url.clone(), live: settings.live(), keys: Vec::new() };
            let found = Arc::new(Mutex::new(found));
            next = Some(found.clone());
            let source = Box::new(move || {
                let found = found.lock().unwrap();
                let mut keys = Keys::default();
                found.keys.iter().for_each(|(name, key)| keys.add(name.clone(), key.clone()));
                let (public_url, live) = (found.public_url.clone(), found.live.clone());
                Ok(Fresh { public_url, live, level: tracing::Level::INFO, keys })
            });
            (Box::new(signal) as Box<dyn ReloadSignal>, source as _)
        })
        .await;
        Self { gateway, next: next.expect("the gateway was started"), asked }
    }

    /// What the configuration says from the next reload on.
    pub fn change<T>(&self, change: impl FnOnce(&mut LiveSettings) -> T) -> T {
        change(&mut self.next.lock().unwrap().live)
    }

    pub fn change_public_url(&self, url: &str) {
        self.next.lock().unwrap().public_url = PublicUrl::parse(url).unwrap();
    }

    /// A key that nobody wrote at the start.
    pub fn set_key(&self, name: &str, is_live: bool) {
        let key = Key { value: "x".to_owned(), content: None, is_set: true, is_live };
        self.next.lock().unwrap().keys.push((name.to_owned(), key));
    }

    /// Reloads, and waits until that is done.
    pub async fn reload(&self) {
        self.reload_to("ok").await;
    }

    pub async fn reload_in_vain(&self) {
        self.reload_to("failed").await;
    }

    async fn reload_to(&self, result: &str) {
        let series = format!("sallyport_config_reloads_total{{result=\"{result}\"}}");
        let before = self.gateway.metric(&series).await;
        self.asked.0.notify_one();
        eventually(async || self.gateway.metric(&series).await > before).await;
    }
}

pub fn upstream(name: &str, path: &str, server: &str, scope: &str) -> UpstreamSettings {
    UpstreamSettings {
        path: path.to_owned(),
        scope: scope.to_owned(),
        pool: pool::Settings::single(name, server),
        access: UpstreamAccess::default(),
    }
}

pub async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
