//! What systemd is told of us (`Type=notify`), and how often it wants to hear it (`WatchdogSec=`).

use std::time::Duration;

use sd_notify::NotifyState;

/// How often the status line is renewed at least, for whoever runs `systemctl status`.
const STATUS: Duration = Duration::from_secs(10);

/// Says it to whoever `NOTIFY_SOCKET` names; to nobody without that.
pub fn say(states: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(states) {
        tracing::warn!(%cause, ?states, "the service manager was not told");
    }
}

/// How often a sign of life is due: twice in the time of the watchdog, as systemd advises. `None` if nobody listens.
pub fn sign_of_life() -> Option<Duration> {
    std::env::var_os("NOTIFY_SOCKET")?;
    Some(sd_notify::watchdog_enabled().map_or(STATUS, |watchdog| STATUS.min(watchdog / 2)))
}
