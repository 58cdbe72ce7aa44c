//! What everything is sealed with that is fuzzed.

use std::sync::LazyLock;

use super::{KeyRing, Sealer};
use crate::fuzzing::ISSUER;

/// With the same key in each run, so that an input which holds sealed text means the same in all of them.
pub static SEALER: LazyLock<Sealer> = LazyLock::new(|| {
    let key = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA";
    let ring = format!(r#"{{"version":1,"keys":[{{"id":1,"created":0,"state":"active","key":"{key}"}}]}}"#);
    Sealer::new(KeyRing::parse(&ring).expect("the ring is well-formed"), ISSUER)
});
