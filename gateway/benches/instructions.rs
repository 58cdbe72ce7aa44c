//! How many instructions each part of the hot path takes, and a whole request, counted by valgrind's callgrind and compared
//! with `instructions.txt`.
//!
//! Counts do not depend on how busy a machine is, and little on which it is: callgrind shows programs a processor of its own,
//! without SHA extensions, so that hashes cost more here than they do. The system's part in a request is not counted.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use sallyport::metrics::{Metrics, UpstreamCounts};

use super::parts::{Parts, SignedIn};
use super::{baseline, callgrind, whole_request};

/// Which role a process started by this program has.
pub const ROLE: &str = "SALLYPORT_COUNTED";
const TIMES: u64 = 500;

/// Counts everything and compares, or with `accept` writes the file anew.
pub fn count(accept: bool) -> ExitCode {
    if !callgrind::is_there() {
        let required = std::env::var_os("CI").is_some();
        println!(
            "instructions: valgrind is not installed: {}",
            if required { "and CI requires it" } else { "SKIPPED" }
        );
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let profile = callgrind::run("parts");
    let mut counts: Vec<_> = PARTS.iter().map(|(name, marker)| (*name, profile.inside(marker) / TIMES)).collect();
    counts.extend(whole_request::count());
    if accept {
        baseline::write(&counts);
        return ExitCode::SUCCESS;
    }
    if baseline::compare(&counts) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a whole call and a refusal take with each kind of telemetry on, beside what they take with none. Metrics cannot be switched off: what is
/// counted for a call is counted by itself.
pub fn count_telemetry() -> ExitCode {
    if !callgrind::is_there() {
        println!("instructions: valgrind is not installed");
        return ExitCode::FAILURE;
    }
    let metrics = callgrind::run("metrics").inside("counted_metrics") / TIMES;
    println!("{:<32} {metrics:>12}", "metrics of a call, always on");
    let none = whole_request::count_with("none");
    for telemetry in ["none", "access", "audit", "a tenth", "traces", "access, audit, traces"] {
        let counts = whole_request::count_with(telemetry);
        for ((name, count), (_, off)) in counts.into_iter().zip(none) {
            let more = 100.0 * (count as f64 / off as f64 - 1.0);
            println!("{name:<24} {telemetry:<24} {count:>8}  {more:+.1} %");
        }
    }
    ExitCode::SUCCESS
}

/// In the counted process: what [`whole_request`] has counted of one call.
pub fn run_metrics() {
    let metrics = Metrics::default();
    counted_metrics(&metrics, &metrics.upstream("mcp"));
}

#[inline(never)]
fn counted_metrics(metrics: &Metrics, upstream: &UpstreamCounts) {
    for _ in 0..TIMES {
        let (metrics, upstream) = (black_box(metrics), black_box(upstream));
        let took = black_box(Duration::from_micros(200));
        metrics.admitted("cache", took, took);
        metrics.connected(true, took);
        metrics.forwarded(took);
        upstream.answered(200);
        metrics.first_byte(took);
        metrics.answered("mcp", 200, took, false);
    }
}

/// What is counted, and the function that runs it: each is found in the profile by its name.
const PARTS: [(&str, &str); 8] = [
    ("open a token", "counted_open"),
    ("seal a token", "counted_seal"),
    ("admit from the process", "counted_admit"),
    ("refuse a forged token", "counted_refuse"),
    ("find a route", "counted_route"),
    ("request's header", "counted_request"),
    ("answer's header", "counted_answer"),
    ("endpoint event", "counted_event"),
];

/// In the counted process.
pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let _inside = runtime.enter();
    let parts = Parts::new();
    let signed_in = runtime.block_on(SignedIn::in_memory(1000));
    // What happens once only is not counted: these calls are in no counted function.
    for _ in 0..2 {
        drop(runtime.block_on(signed_in.admit()));
        black_box((parts.open_token().is_ok(), parts.seal_token(), parts.route(), parts.request_header()));
        black_box((parts.answer_header(), parts.event_endpoint(), signed_in.refuse_forged()));
    }
    counted_open(&parts);
    counted_seal(&parts);
    counted_admit(&signed_in);
    counted_refuse(&signed_in);
    counted_route(&parts);
    counted_request(&parts);
    counted_answer(&parts);
    counted_event(&parts);
}

macro_rules! counted {
    ($($name:ident($of:ty): $run:ident;)*) => {$(
        #[inline(never)]
        fn $name(of: &$of) {
            for _ in 0..TIMES {
                let _ = black_box(black_box(of).$run());
            }
        }
    )*};
}

counted! {
    counted_open(Parts): open_token;
    counted_seal(Parts): seal_token;
    counted_admit(SignedIn): admit_now;
    counted_refuse(SignedIn): refuse_forged;
    counted_route(Parts): route;
    counted_request(Parts): request_header;
    counted_answer(Parts): answer_header;
    counted_event(Parts): event_endpoint;
}
