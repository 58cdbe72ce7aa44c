//! Listeners that close before the server ends.

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;

/// A service whose listeners close when `closing` turns true. Pingora would close those of all services at once, the admin
/// listener's too, and then sleep for a fixed time, also with nobody left to serve.
pub struct Closing<S> {
    pub service: S,
    pub closing: ShutdownWatch,
}

#[async_trait]
impl<S: Service> Service for Closing<S> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _shutdown: ShutdownWatch, listeners_per_fd: usize) {
        self.service.start_service(fds, self.closing.clone(), listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}
