//! One program for all targets, so that everything is instrumented and linked once: `FUZZ_TARGET` chooses.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sallyport::fuzzing::{self, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
        let _ = TARGET.set(fuzzing::target(&name));
    },
    |input: &[u8]| TARGET.get().expect("it was set at first")(input)
);
