//! The last warnings and errors of this process, for the status page: whoever looks at three in the morning has no log at hand.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::without_secrets;
use crate::clock::{Clock, Timestamp};

/// One line of the log that was a warning or worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub at: Timestamp,
    pub level: Level,
    /// Message and fields, as the log has them; cut after [`LONGEST`] bytes.
    pub text: String,
}

/// The newest first.
pub fn last() -> Vec<Trouble> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

/// Keeps what is a warning or worse, beside the log that writes it.
pub struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        keep(Trouble { at: Clock::system().now(), level, text: line.into_text() });
    }
}

fn keep(trouble: Trouble) {
    // Nothing panics while it is locked.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.len() == AT_MOST {
        last.pop_front();
    }
    last.push_back(trouble);
}

/// A process has one log, so it has one of these.
static LAST: Mutex<VecDeque<Trouble>> = Mutex::new(VecDeque::new());
const AT_MOST: usize = 20;
const LONGEST: usize = 300;

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn into_text(self) -> String {
        // Before anything is cut: half a secret may look like none.
        let mut text = without_secrets(self.message + &self.fields);
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        text
    }

    fn add(&mut self, field: &Field, value: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn warnings_and_errors_are_kept_newest_first_and_not_without_end() {
        let subscriber = tracing_subscriber::registry().with(Keep);
        tracing::subscriber::with_default(subscriber, || {
            (0..2 * AT_MOST).for_each(|number| tracing::warn!(number, "kept"));
            tracing::info!("not kept");
            tracing::error!(cause = %"no route", code = "SP-1401", "the newest");
            tracing::error!("{}", "é".repeat(LONGEST));
            tracing::warn!(token = "sp1_at_AQAAAAEocanarycanarycanarycanary", "what no line should hold");
        });
        let last = last();
        assert_eq!(last.len(), AT_MOST);
        assert_eq!(last[0].text, "what no line should hold token=sp1_[redacted]");
        assert_eq!(last[1].text, format!("{}…", "é".repeat(LONGEST / 2)));
        assert_eq!((last[2].level, &*last[2].text), (Level::ERROR, "the newest cause=no route code=SP-1401"));
        assert_eq!(last[3].text, format!("kept number={}", 2 * AT_MOST - 1));
        assert!(last.iter().all(|trouble| !trouble.text.contains("not kept")));
    }
}
