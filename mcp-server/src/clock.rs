//! The one place that reads the time, so that tests can say what time it is.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Tells the time: the system's, or whatever a test says.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's time")]
    pub fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    pub fn of(tell: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
