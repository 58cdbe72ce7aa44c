//! What replicas tell each other at once: not kept, and lost on whoever is not listening.

use async_trait::async_trait;
use tokio::sync::broadcast::{self, error::RecvError};

/// What a [`Listener`] hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// From here on nothing is missed. What was said before may have been, so whoever relies on it begins anew.
    Listening,
    /// Until the next [`Announcement::Listening`] everything may be missed.
    Lost,
    Said(Vec<u8>),
}

/// Listens to one topic, for as long as it is asked for the next announcement.
#[async_trait]
pub trait Listener: Send {
    /// Waits for as long as it takes. What is lost is found again without being asked to.
    async fn next(&mut self) -> Announcement;
}

/// Announcements within this process.
pub(super) struct Here(broadcast::Sender<(&'static str, Vec<u8>)>);

struct HereListener {
    topic: &'static str,
    receiver: broadcast::Receiver<(&'static str, Vec<u8>)>,
    listening: bool,
}

impl Here {
    pub fn announce(&self, topic: &'static str, message: &[u8]) {
        // An error says that nobody listens.
        let _ = self.0.send((topic, message.to_vec()));
    }

    pub fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        Box::new(HereListener { topic, receiver: self.0.subscribe(), listening: false })
    }
}

impl Default for Here {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

#[async_trait]
impl Listener for HereListener {
    async fn next(&mut self) -> Announcement {
        if !std::mem::replace(&mut self.listening, true) {
            return Announcement::Listening;
        }
        loop {
            match self.receiver.recv().await {
                Ok((topic, message)) if topic == self.topic => return Announcement::Said(message),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    self.listening = false;
                    return Announcement::Lost;
                }
                // The store is gone: nobody says anything any more.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// How far a listener may be behind.
const BACKLOG: usize = 1024;
