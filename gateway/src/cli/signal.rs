//! SIGTERM and SIGINT as a stop signal.

use async_trait::async_trait;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::drain::StopSignal;
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
