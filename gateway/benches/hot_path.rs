//! `cargo bench -p sallyport --bench hot_path`: how long each part of the hot path takes. With `-- --count`: how many
//! instructions (`instructions`), which fails when one takes 5 % more than was accepted; `-- --accept` accepts what is counted. With
//! `-- --telemetry`: what metrics, logs and traces take of them.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "there is nobody to hand an error to; what is counted is shown"
)]

mod baseline;
mod callgrind;
mod instructions;
mod parts;
#[path = "../tests/it/support"]
#[expect(clippy::unwrap_used, dead_code, reason = "tests do more with it")]
mod support {
    pub mod browser;
    pub mod gateway;
    pub mod journey;
    pub mod redis_server;

    pub fn install_crypto_provider() {
        // An error says that it was installed before.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    }

    pub fn free_port() -> u16 {
        std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
    }
}
mod whole_request;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use criterion::Criterion;
use mimalloc::MiMalloc;
use parts::{Parts, SignedIn};
use sallyport::store::{RedisSettings, RedisStore};
use support::redis_server::RedisServer;
use tokio::runtime::Runtime;

/// As the program's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let has = |argument: &str| std::env::args().any(|given| given == argument);
    match std::env::var(instructions::ROLE).as_deref() {
        Ok("parts") => instructions::run(),
        Ok("metrics") => instructions::run_metrics(),
        Ok("gateway") => whole_request::gateway(),
        _ if has("--telemetry") => return instructions::count_telemetry(),
        _ if has("--count") || has("--accept") => return instructions::count(has("--accept")),
        _ => time(),
    }
    ExitCode::SUCCESS
}

fn time() {
    let mut criterion = Criterion::default().configure_from_args();
    in_process(&mut criterion);
    in_store(&mut criterion);
    criterion.final_summary();
}

fn in_process(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let _inside = runtime.enter();
    let parts = Parts::new();
    let signed_in = runtime.block_on(SignedIn::in_memory(1000));
    drop(runtime.block_on(signed_in.admit()));
    criterion.bench_function("open a token", |bench| bench.iter(|| parts.open_token()));
    criterion.bench_function("seal a token", |bench| bench.iter(|| parts.seal_token()));
    criterion.bench_function("admit from the process", |bench| bench.iter(|| signed_in.admit_now()));
    criterion.bench_function("refuse a forged token", |bench| bench.iter(|| signed_in.refuse_forged()));
    criterion.bench_function("find a route", |bench| bench.iter(|| black_box(&parts).route()));
    criterion.bench_function("request's header", |bench| bench.iter(|| parts.request_header()));
    criterion.bench_function("answer's header", |bench| bench.iter(|| parts.answer_header()));
    criterion.bench_function("endpoint event", |bench| bench.iter(|| parts.event_endpoint()));
}

fn in_store(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let signed_in = runtime.block_on(SignedIn::in_memory(0));
    criterion.bench_function("admit from a store in memory", |bench| {
        bench.iter(|| runtime.block_on(signed_in.admit()).expect("it is good"));
    });
    // Without one it says aloud that this is skipped.
    let Some(redis) = RedisServer::start() else { return };
    let settings = RedisSettings::new(redis.url().parse().expect("it is a URL"));
    let signed_in = runtime.block_on(SignedIn::new(0, |_| Arc::new(RedisStore::new(settings).expect("it is one"))));
    criterion.bench_function("admit from Redis", |bench| {
        bench.iter(|| runtime.block_on(signed_in.admit()).expect("it is good"));
    });
}
