//! `loadtest bench` in its smallest form, with what is built and installed: whether everything comes up, is measured by
//! turns, and goes again. What is measured beside other tests says nothing about speed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use loadtest::bench::{Bench, Part, Sizes};

/// Where the programs of the workspace are, if all of them were built.
fn programs() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_BIN_EXE_loadtest")).parent().unwrap().to_owned();
    let built = |name: &str| folder.join(name).is_file();
    let all =
        ["sallyport", "fake-entra", "bare-pingora", "bare-pingora-mimalloc", "bench-sessions"].into_iter().all(built);
    all.then_some(folder)
}

/// Likewise, and Redis; else it says that the test is skipped, unless it must not be.
fn everything() -> Option<PathBuf> {
    let redis = std::process::Command::new("redis-server").arg("--version").output();
    let required = ["SALLYPORT_REQUIRE_REDIS", "CI"].iter().any(|name| std::env::var_os(name).is_some());
    let programs = programs().filter(|_| redis.is_ok());
    if programs.is_none() {
        assert!(!required, "redis-server or a program of the workspace is missing, and this run requires them");
        eprintln!("\nSKIPPED bench: needs redis-server, and the programs of the workspace (cargo build --workspace)\n");
    }
    programs
}

fn smoke(programs: PathBuf) -> Bench {
    Bench {
        programs,
        shipped: None,
        contestants: None,
        command: "test".to_owned(),
        sizes: Sizes::SMOKE,
        only: Vec::new(),
        other_builds: Vec::new(),
        limit: Duration::from_secs(180),
        pin: false,
        realtime: false,
    }
}

#[tokio::test]
async fn everything_comes_up_and_is_measured_by_turns() {
    let Some(programs) = everything() else { return };
    let results = smoke(programs).run().await.unwrap();
    let text = results.to_string();
    assert!(results.is_valid(), "{text}");
    let row = |name: &str| results.calls.rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{text}"));
    for name in [
        "upstream alone",
        "bare Pingora",
        "bare Pingora, mimalloc",
        "Sallyport, warm",
        "Sallyport, Redis at every request",
        "Sallyport, forged token",
        "Sallyport, expired token",
    ] {
        let closed = row(name).closed.unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(closed.answers > 0 && closed.cpu_us.median > 0.0, "{text}");
    }
    let ratio = row("bare Pingora").closed.unwrap().cpu_to_bare.unwrap();
    assert_eq!((ratio.low, ratio.high), (1.0, 1.0), "bare Pingora is what it is compared with");
    // What makes it another contestant than the warm one.
    assert!(row("Sallyport, Redis at every request").closed.unwrap().store_reads_each.unwrap() > 0.9, "{text}");
    assert!(row("Sallyport, warm").closed.unwrap().store_reads_each.unwrap() < 0.1, "{text}");
    assert!(row("Sallyport, forged token").closed.unwrap().store_reads_each.unwrap() < 0.1, "{text}");
    assert!(row("Sallyport, expired token").closed.unwrap().store_reads_each.unwrap() < 0.1, "{text}");
    assert_eq!(results.sign_ins.count, 4);
    let of_step = |step: &str| results.sign_ins.steps.iter().find(|figures| figures.step == step).unwrap().sent;
    assert!(of_step("token") > 0.0 && of_step("authorize") < of_step("token"), "{text}");
    let logs = results.logs.as_ref().unwrap();
    assert!(logs.points.iter().skip(1).all(|point| point.to_first.is_some()), "{text}");
    let points: Vec<_> = results.sweeps.iter().map(|sweep| (sweep.of, sweep.points.len())).collect();
    let all = [
        ("calls in a window", 5),
        ("connections", 4),
        ("connections, bare Pingora", 4),
        ("clients", 2),
        ("sessions (Zipf)", 1),
        ("routes", 3),
    ];
    assert_eq!(points, all, "{text}");
    assert!(results.plot().unwrap().is_some(), "{text}");
    assert!(results.streams.iter().all(|streams| streams.events > 0), "{text}");
    assert!(results.handshakes.iter().all(|row| row.handshakes > 0), "{text}");
    assert!(results.not_measured.iter().any(|(name, _)| name == "Envoy"), "{text}");
    assert!(text.contains("| bare Pingora | proxy |") && text.contains("## Sign-ins"), "{text}");
}

#[tokio::test]
async fn a_build_is_put_under_every_kind_of_load_and_ends_by_itself() {
    let Some(programs) = everything() else { return };
    let counted = std::env::temp_dir().join(format!("loadtest-counted-{}", std::process::id()));
    std::fs::create_dir_all(&counted).unwrap();
    // As a program that counts does: it leaves a file when it ended well, and none when it was killed.
    let counting = counted.join("sallyport");
    let script = format!(
        "#!/bin/sh\ntrap 'kill $!' TERM\n{} \"$@\" &\nwait $!; wait $! && touch {}/$$.profraw\n",
        programs.join("sallyport").display(),
        counted.display()
    );
    write_program(&counting, &script);
    let train = Bench { shipped: Some(counting), ..smoke(programs) };
    train.train().await.unwrap();
    let files = std::fs::read_dir(&counted).unwrap().flatten();
    let ended = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "profraw")).count();
    assert_eq!(ended, 7, "warm, with Redis, forged, expired, with logs, TLS, event streams");
    std::fs::remove_dir_all(counted).unwrap();
}

#[tokio::test]
async fn a_run_that_breaks_off_keeps_what_it_has() {
    let Some(programs) = everything() else { return };
    let gone = vec![("gone".to_owned(), PathBuf::from("/bin/false"))];
    let bench = Bench { only: vec![Part::Calls], other_builds: gone, ..smoke(programs) };
    let results = bench.run().await.unwrap();
    let text = results.to_string();
    assert!(!results.is_valid() && text.contains("**Broken off**: "), "{text}");
    assert_eq!(results.sign_ins.count, 4, "they were measured before");
}

#[tokio::test]
async fn a_run_does_not_outlive_its_limit() {
    // A stand-in for the upstream that never listens: the first thing that is started.
    let bench = Bench { limit: Duration::from_millis(500), ..smoke(folder_of_sleepers()) };
    let folder = bench.programs.clone();
    let begun = std::time::Instant::now();
    let error = bench.run().await.expect_err("nothing came up");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(format!("{error:#}").contains("was over"), "{error:#}");
    let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "what was started is still there");
    std::fs::remove_dir_all(folder).unwrap();
}

fn folder_of_sleepers() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("loadtest-sleepers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = format!("#!/bin/sh\necho $$ > {}/pid\nexec sleep 60\n", folder.display());
    write_program(&folder.join("loadtest"), &script);
    folder
}

fn write_program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
