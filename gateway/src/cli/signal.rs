//! SIGTERM and SIGINT as a stop signal, SIGHUP as one to reload.

use async_trait::async_trait;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

use crate::drain::StopSignal;
use crate::server::ReloadSignal;
use crate::service_manager;

pub struct Terminate;

#[async_trait]
impl StopSignal for Terminate {
    async fn received(&self) {
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be watched");
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be watched");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        service_manager::say(&[NotifyState::Stopping]);
    }
}

/// Watched from the first wait on: a signal that comes while nobody waits is there for the next wait.
#[derive(Default)]
pub struct Hangup(Mutex<Option<Signal>>);

#[async_trait]
impl ReloadSignal for Hangup {
    async fn received(&self) {
        let mut watched = self.0.lock().await;
        let hangup = watched.get_or_insert_with(|| signal(SignalKind::hangup()).expect("SIGHUP can be watched"));
        // It ends with the runtime, and then nobody waits.
        hangup.recv().await;
    }
}
