//! Tells the service manager that the edge still gets things done, and how much it has to do.
//!
//! A process can be there and serve nobody: a loop without an end, a deadlock. So what is told comes from the runtime that
//! serves: a sign is due when a task that was given to it has run. If it does not run, nothing is said, and the watchdog of
//! systemd ends the process.

use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::background::BackgroundService;
use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::drain::Drain;
use crate::service_manager;

/// A service that shows which runtime it is served by.
pub struct Shown<S> {
    pub service: S,
    pub runtime: watch::Sender<Option<Handle>>,
}

#[async_trait]
impl<S: Service> Service for Shown<S> {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        self.runtime.send_replace(Some(Handle::current()));
        self.service.start_service(fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}

pub struct SignOfLife {
    pub interval: Duration,
    /// Of the edge; `None` until it has been started.
    pub runtime: watch::Receiver<Option<Handle>>,
    pub drain: Drain,
}

#[async_trait]
impl BackgroundService for SignOfLife {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.tell() => {}
            _ = shutdown.changed() => {}
        }
    }
}

impl SignOfLife {
    async fn tell(&self) {
        let mut runtime = self.runtime.clone();
        let Ok(runtime) = runtime.wait_for(Option::is_some).await.map(|runtime| runtime.clone()) else { return };
        while let Some(runtime) = &runtime
            && works(runtime).await
        {
            service_manager::say(&[NotifyState::Watchdog, NotifyState::Status(&self.status())]);
            sleep(self.interval).await;
        }
    }

    fn status(&self) -> String {
        let doing = if self.drain.is_draining() { "leaving" } else { "serving" };
        format!("{doing}, with {} requests and streams under way", self.drain.in_flight())
    }
}

/// Waits until a task has run there; `false` if none can any more, because the runtime ends.
async fn works(runtime: &Handle) -> bool {
    runtime.spawn(async {}).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_runtime_that_is_stuck_gives_no_sign() {
        let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert!(works(other.handle()).await);
        let (release, stuck) = mpsc::channel::<()>();
        other.spawn(async move { stuck.recv() });
        assert!(timeout(Duration::from_millis(300), works(other.handle())).await.is_err());
        release.send(()).unwrap();
        assert!(timeout(Duration::from_secs(20), works(other.handle())).await.unwrap());
        let handle = other.handle().clone();
        other.shutdown_background();
        assert!(!works(&handle).await);
    }
}
