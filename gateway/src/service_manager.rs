//! What systemd is told of us (`Type=notify`).

use sd_notify::NotifyState;

/// Says it to whoever `NOTIFY_SOCKET` names; to nobody without that.
pub fn say(state: &NotifyState<'_>) {
    if let Err(cause) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%cause, %state, "the service manager was not told");
    }
}
