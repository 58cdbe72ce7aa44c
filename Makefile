# The commands people and CI use. `make dev` tries Sallyport, `make test` runs every test there is.
# Both work on a plain Debian or Ubuntu with a Rust toolchain: they install what is missing (.ci/install).
#
#   CARGO_TARGET_DIR  where cargo builds
#   SALLYPORT_BIN     for `make dev`: a program that is built already
#   SALLYPORT_CACHE   where the client tests keep their npm and PyPI packages; by default inside the former
#   ARTIFACTS         where the client tests keep logs and pictures; likewise

.DEFAULT_GOAL := help
.PHONY: help dev build ahead test test-rust test-clients test-interop test-register test-load test-models test-prometheus test-deploy test-docs test-fuzz fuzz docs-reference instructions bench dist reproducible flood schedules chaos chaos-rows soak scaling check fmt fmt-check clippy shellcheck

help:
	@echo 'make dev           build and run everything on loopback: the edge, a sample MCP server, a stand-in for Entra'
	@echo 'make test          every test that CI runs (about an hour the first time)'
	@echo 'make test-rust     the Rust tests only'
	@echo 'make test-clients  the real MCP clients and the browser only; DRIVERS="takeover consent-page" picks some'
	@echo "make test-interop  Microsoft's own library for Python against the stand-in for Entra"
	@echo 'make test-register the script that registers in Entra only, against a stand-in for az'
	@echo 'make test-load     the k6 scripts only: their types, and a run without k6'
	@echo 'make test-models   the model of the sign-in only: every order of events, with and without each protection'
	@echo 'make test-prometheus  metrics, alerts, board and runbooks only, with a real Prometheus'
	@echo 'make test-docs     the commands of the tutorial and the how-tos only, as they stand there'
	@echo 'make test-fuzz     the fuzzing only, in the short form: each target for a minute from our corpora, with a fixed seed; SECONDS=10'
	@echo 'make fuzz          each parser that strangers reach, a minute under libFuzzer: SECONDS=600; TARGETS="token sse" picks some'
	@echo 'make docs-reference  write the tables of docs/metrics.md and docs/errors.md anew'
	@echo 'make instructions  counts what the hot path costs, and fails at 5 % more; ARGS=--accept accepts the counts,'
	@echo '                   ARGS=--telemetry counts what metrics, logs and traces take instead'
	@echo 'make bench         Sallyport beside a bare Pingora, nginx, Envoy and FastMCP (ten minutes, besides a build as for a release); ARGS=--quick takes two'
	@echo 'make test-deploy   what is shipped only: packages, images, manifests; PROGRAMS names a folder of release builds that exist'
	@echo 'make dist          everything that a release consists of, into dist/ of the target folder: docs/release.md'
	@echo 'make reproducible  builds the commit twice, and compares'
	@echo 'make flood         offers a million registrations and measures memory (half a minute; make test offers 100000)'
	@echo 'make schedules     codes, refresh tokens and the end of sessions in a million orders of events, beside a model of them;'
	@echo '                   SCHEDULES says how many, SEED from which on'
	@echo 'make chaos         an hour of faults that SEED chooses, the invariants looked at after each; MINUTES, STEPS=3-5,9, REPORT=file.md'
	@echo 'make chaos-rows    the single faults of docs/chaos.md in the long form (half an hour); SEED=1 chooses the run'
	@echo 'make soak          an hour in which nothing may fail and memory may not grow; MINUTES, REPORT=file.md'
	@echo 'make scaling       what sessions cost in Redis: bytes, commands, listing and ending all; SESSIONS=100000 says how many'
	@echo 'make check         formatting and lints'
	@echo 'make fmt           format the Rust code'

dev:
	@.ci/install build
	$(or $(SALLYPORT_BIN),cargo run --release --locked --) dev $(ARGS)

# All that the tests build, with the same features each time, or cargo compiles seventy crates once more: `--tests` brings those that the
# tests' own dependencies want, and everything-server is for the conformance suite.
TESTED = --workspace --features sallyport-mcp-server/conformance

build:
	@.ci/install build
	cargo build --locked $(TESTED) --bins --tests

# Goes on after a failure, so that one run shows all of them, and closes with the total. What is installed must be met. What is built for the
# later parts is built beside the earlier ones.
test:
	@.ci/install test
	@SALLYPORT_REQUIRE_REDIS=1 SALLYPORT_REQUIRE_PROMETHEUS=1 SALLYPORT_REQUIRE_FAKETIME=1 .ci/total .ci/ahead $(MAKE) --no-print-directory --keep-going fmt-check test-rust test-clients test-interop test-register test-load test-models test-docs test-fuzz instructions test-deploy clippy shellcheck

test-rust: build
	cargo test --locked $(TESTED) --no-fail-fast

test-clients: build
	gateway/tests/clients/run $(DRIVERS)

test-interop: build
	fake-entra/tests/interop/run

# deploy/entra/register against a recorded az.
test-register:
	deploy/entra/tests/run

# PAGES="howto/rotate-keys" picks some.
test-docs: build
	docs/tests/run $(PAGES)

test-load: build
	loadtest/k6/test

test-models:
	gateway/models/check

# Instrumented, and so built once more, in a folder of its own.
# TARGETS="token sse" picks some.
fuzz:
	@.ci/install build
	gateway/fuzz/run $(or $(SECONDS),60) $(TARGETS)

# What CI does: eight minutes, and the instrumented build before them.
test-fuzz:
	@.ci/install build
	gateway/fuzz/run --test $(or $(SECONDS),60)

# The same tests as in test-rust, in a moment. They need Debian's prometheus, which brings promtool.
test-prometheus:
	@.ci/install test
	@SALLYPORT_REQUIRE_PROMETHEUS=1 .ci/total cargo test --locked -p sallyport --test it -- prometheus::

docs-reference:
	UPDATE_DOCS=1 cargo test --locked -p sallyport --lib -- the_reference_

# docs/performance.md says what the counts are. With test-deploy's flags, so that it finds most of it compiled.
instructions:
	@.ci/install test
	$(HOT_PATH) -- --count $(ARGS)

HOT_PATH = OPTIMIZE=little deploy/release/flagged bench --locked -p sallyport --bench hot_path

# Builds what test-fuzz, instructions, test-deploy and clippy need: .ci/ahead. Clippy is the last, for nobody else can build in debug meanwhile.
ahead:
	gateway/fuzz/run --build
	$(HOT_PATH) --no-run
	deploy/test --build
	$(MAKE) clippy

# Builds what is shipped, and says where it is.
SHIPPED = $$(PATH="$$(deploy/release/tools cargo-auditable):$$PATH" deploy/release/build)

# What is shipped, on a machine that does nothing else; beside it a bare Pingora that is optimised as a whole too, and what is not measured.
# NAME chooses where the results go: loadtest/results/NAME.json and .md.
bench:
	@.ci/install bench
	@mkdir -p loadtest/results
	programs=$(SHIPPED) && \
	deploy/release/flagged build --release --locked -p bare-pingora && \
	OPTIMIZE=little deploy/release/flagged build --release --locked -p sallyport -p loadtest -p bench-sessions -p fake-entra && \
	"$${CARGO_TARGET_DIR:-target}/release/loadtest" bench --contestants "$$(loadtest/contestants)" --sallyport "$$programs/sallyport" \
		--out "loadtest/results/$(or $(NAME),$(shell date -u +%Y-%m-%d-%H%M))" $(ARGS)

# Release builds: in Debian packages in a booted system, in images, under manifests.
test-deploy:
	@.ci/install test
	deploy/test

dist:
	@.ci/install release
	programs=$(SHIPPED) && deploy/release/dist "$$programs" $${CARGO_TARGET_DIR:-target}/dist

reproducible:
	@.ci/install release
	PATH="$$(deploy/release/tools cargo-auditable):$$PATH" deploy/release/reproducible $(PROGRAMS)

# By itself, for it measures the memory of its process.
flood:
	@.ci/install build
	@.ci/total cargo test --locked -p sallyport --lib -- --ignored --exact --nocapture \
		oauth::tests::corpora::a_million_registrations_leave_memory_as_it_was

# The same test as in test-rust, which plays some thousands: docs/schedules.md says what it shows. What it plays is optimised, or a
# million would take hours; what it stands on is not compiled anew for that.
schedules:
	@.ci/install build
	@SCHEDULES=$(or $(SCHEDULES),1000000) CARGO_PROFILE_DEV_OPT_LEVEL=2 .ci/total cargo test --locked -p sallyport --lib -- \
		--exact --nocapture oauth::tests::schedules::no_schedule_gives_an_answer_that_the_model_does_not

# In the dev profile, as `make test` has a minute of each. What is given to make is in the environment too: SEED, STEPS.
# REPORT is relative to here, and a test runs elsewhere.
chaos soak: export MINUTES := $(or $(MINUTES),60)
chaos soak: export REPORT := $(and $(REPORT),$(abspath $(REPORT)))

chaos:
	@.ci/install test
	@SALLYPORT_REQUIRE_REDIS=1 .ci/total cargo test --locked -p sallyport --test it -- --nocapture --exact \
		chaos::hour::what_must_always_hold_holds_after_every_fault_that_a_seed_chooses

soak:
	@.ci/install test
	@SALLYPORT_SOAK=long SALLYPORT_REQUIRE_REDIS=1 .ci/total cargo test --locked -p sallyport --test it -- --nocapture \
		--exact chaos::hour::soak::under_a_steady_load_nothing_fails_and_memory_does_not_grow

# One after another, in the dev profile, as `make test` has them in short: docs/chaos.md says what each shows.
chaos-rows:
	@.ci/install test
	@SALLYPORT_CHAOS=long SALLYPORT_REQUIRE_REDIS=1 .ci/total cargo test --locked -p sallyport --test it -- \
		--nocapture --test-threads 1 --skip chaos::hour chaos::

# What docs/scaling.md reckons with. SESSIONS says how many; a hundred thousand take half a gigabyte.
scaling:
	@.ci/install test
	@SALLYPORT_REQUIRE_REDIS=1 .ci/total sh -c '\
		cargo test --locked -p sallyport --test it -- --nocapture scaling:: && \
		cargo test --locked -p sallyport --lib -- --ignored --exact --nocapture \
			session::tests::scale::many_sessions_are_kept_found_listed_and_ended'

check: fmt-check clippy shellcheck

fmt:
	cargo fmt --all

fmt-check:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked --features sallyport-mcp-server/conformance,fake-entra/unmarked -- -D warnings

shellcheck:
	shellcheck docs/tests/run loadtest/contestants deploy/entra/register deploy/entra/tests/sleep gateway/models/check gateway/fuzz/run gateway/fuzz/instrument .ci/ahead .ci/install .ci/run .ci/total
	shellcheck --exclude=SC2016,SC2317 deploy/test deploy/release/* deploy/debian/build deploy/debian/*/p* deploy/debian/tests/* \
		deploy/container/root deploy/container/tests/run deploy/kubernetes/tests/run \
		deploy/kubernetes/tests/kubectl deploy/kubernetes/tests/replicas/run
