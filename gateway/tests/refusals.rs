//! What a token costs that nobody has sealed: memory that does not grow with it, and no word to the store.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail loudly")]

#[path = "../benches/parts.rs"]
#[expect(dead_code, reason = "what is timed needs more")]
mod parts;

use std::sync::Arc;

use futures_util::FutureExt;
use sallyport::sealed::OpenError;
use sallyport::session::{Denied, Sessions};
use sallyport::store::{RedisSettings, RedisStore};

use parts::{Parts, RESOURCE, authorization, sessions};

/// Refuses this token, and says how much memory was asked for meanwhile.
fn refuse(sessions: &Arc<Sessions>, token: &str) -> (OpenError, u64) {
    let authorization = authorization(token);
    let mut denied = None;
    let counted = allocation_counter::measure(|| {
        // Whoever called the store would have to wait for it.
        denied = sessions.admit(Some(&authorization), RESOURCE).now_or_never();
    });
    let denied = denied.expect("nothing is waited for").unwrap_err();
    let Denied::Token(cause) = denied else { panic!("{denied}") };
    (cause, counted.bytes_total)
}

#[test]
fn a_token_that_nobody_has_sealed_takes_as_little_memory_as_any_and_no_call() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let nowhere = RedisSettings::new("redis://127.0.0.1:9".parse().unwrap());
    let sessions = sessions(100, |_| Arc::new(RedisStore::new(nowhere).unwrap()));

    // Of another ring.
    let foreign = Parts::new().seal_token();
    let (cause, least) = refuse(&sessions, &foreign);
    assert_eq!(cause, OpenError::Forged);
    assert!(least < 1024, "{least}");
    for length in [300, 1000, 8000] {
        let padded = format!("{foreign}{}", "A".repeat(length));
        let (cause, bytes) = refuse(&sessions, &padded);
        assert_eq!(cause, OpenError::Malformed);
        assert!(bytes <= least, "{length}: {bytes} of {least}");
    }
}
