//! Whether this replica has ever been able to do its work. What it finds out once it keeps: an outage of Entra's later on must
//! not take every replica from its balancer at once, for who is signed in can go on without Entra (GU-8, GU-11).

use std::sync::{Arc, PoisonError, RwLock};

/// Shared by who finds out and who is asked.
#[derive(Clone)]
pub struct Readiness(Arc<RwLock<Option<String>>>);

impl Default for Readiness {
    /// Nothing is known yet.
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Some("Entra has not been asked yet".to_owned()))))
    }
}

impl Readiness {
    /// What is in the way, in the words of a log; `None` when nothing is.
    pub fn obstacle(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Also after [`Readiness::ready`]: that stays as it is.
    pub fn hindered(&self, cause: String) {
        let mut obstacle = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if obstacle.is_some() {
            *obstacle = Some(cause);
        }
    }

    /// From now on, for good.
    pub fn ready(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_success_counts() {
        let readiness = Readiness::default();
        assert!(readiness.obstacle().is_some());
        readiness.hindered("Entra is out".to_owned());
        assert_eq!(readiness.obstacle().as_deref(), Some("Entra is out"));
        readiness.ready();
        readiness.hindered("out again".to_owned());
        assert_eq!(readiness.obstacle(), None);
    }
}
