//! A bar on the terminal while a run goes on, and the person before it, who may end the run. Where standard error is no
//! terminal, nothing is drawn.

use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::ctrl_c;

/// What to show, and whether Ctrl-C ends the run.
pub struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    /// How many there will be, if that is known: the bar then goes by it, and else by the time.
    goal: Option<u64>,
    heeds_ctrl_c: bool,
    was_ended: AtomicBool,
}

impl Progress {
    /// On standard error, if that is a terminal.
    pub fn on_terminal() -> Self {
        let bar = ProgressBar::no_length();
        bar.set_style(
            ProgressStyle::with_template("{elapsed:>4} {bar:40} {msg}").expect("the template is well-formed"),
        );
        Self { bar, ..Self::hidden() }
    }

    /// Likewise of a run that Ctrl-C ends, and that counts `unit`s; `goal`: how many, if that is known.
    pub fn of_run(unit: &'static str, goal: Option<u64>) -> Self {
        Self { unit, goal, heeds_ctrl_c: true, ..Self::on_terminal() }
    }

    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            unit: "answers",
            goal: None,
            heeds_ctrl_c: false,
            was_ended: AtomicBool::new(false),
        }
    }

    /// Draws until `work`, which takes about `lasts`, is done. `count` says how many there are so far. None when Ctrl-C came
    /// first.
    pub async fn during<T>(
        &self,
        lasts: Duration,
        count: impl Fn() -> u64,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let done = tokio::select! {
            done = work => Some(done),
            () = self.draw(lasts, count) => None,
            () = self.ctrl_c() => None,
        };
        self.bar.finish_and_clear();
        done
    }

    /// Why the run ended before it was to, if it did.
    pub fn ended(&self) -> Option<String> {
        self.was_ended.load(Ordering::Relaxed).then(|| "ended by Ctrl-C".to_owned())
    }

    /// Never ends.
    async fn draw(&self, lasts: Duration, count: impl Fn() -> u64) {
        if self.bar.is_hidden() {
            // Nothing wakes the runtime for nothing.
            return pending().await;
        }
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let begun = Instant::now();
        self.bar.set_length(self.goal.unwrap_or(milliseconds(lasts)));
        let mut redraw = tokio::time::interval(Duration::from_millis(200));
        loop {
            redraw.tick().await;
            let count = count();
            self.bar.set_position(self.goal.map_or(milliseconds(begun.elapsed()), |_| count));
            self.bar.set_message(format!("{count} {}", self.unit));
        }
    }

    /// Ends when somebody ends the run.
    async fn ctrl_c(&self) {
        // Where the system gives no such signal, it ends the program as ever.
        if !self.heeds_ctrl_c || ctrl_c().await.is_err() {
            return pending().await;
        }
        self.was_ended.store(true, Ordering::Relaxed);
    }
}
