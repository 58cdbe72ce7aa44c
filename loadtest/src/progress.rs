//! A bar on the terminal while a run goes on. Where standard error is no terminal, nothing is drawn.

use std::future::Future;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// What to show.
pub struct Progress(ProgressBar);

impl Progress {
    /// On standard error, if that is a terminal.
    pub fn on_terminal() -> Self {
        let bar = ProgressBar::no_length();
        bar.set_style(
            ProgressStyle::with_template("{elapsed:>4} {bar:40} {msg}").expect("the template is well-formed"),
        );
        Self(bar)
    }

    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Draws until `work`, which takes about `lasts`, is done. `count` says how many answers there are.
    pub async fn during<T>(&self, lasts: Duration, count: impl Fn() -> u64, work: impl Future<Output = T>) -> T {
        if self.0.is_hidden() {
            // Nothing wakes the runtime for nothing.
            return work.await;
        }
        let begun = Instant::now();
        self.0.set_length(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        let mut work = std::pin::pin!(work);
        let mut redraw = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                done = &mut work => {
                    self.0.finish_and_clear();
                    return done;
                }
                _ = redraw.tick() => {
                    self.0.set_position(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
                    self.0.set_message(format!("{} answers", count()));
                }
            }
        }
    }
}
