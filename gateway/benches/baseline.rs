//! The counts that were accepted, in `instructions.txt`.

use std::path::PathBuf;
use std::process::Command;

/// What one may grow by, in per cent.
const MORE: u64 = 5;

/// Writes the counts as those to compare with from now on.
pub fn write(counts: &[(&str, u64)]) {
    let mut text = format!("# Renewed by `make instructions ARGS=--accept`.\n# {}\n", toolchain());
    for (name, count) in counts {
        println!("{name:<24} {count:>8}");
        text.push_str(&format!("{name}: {count}\n"));
    }
    std::fs::write(file(), text).expect("it can be written");
}

/// Shows the counts beside the accepted ones. Whether none has grown too much.
pub fn compare(counts: &[(&str, u64)]) -> bool {
    // Without one everything is new.
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let is_same = text.lines().nth(1).is_some_and(|line| line.trim_start_matches("# ") == toolchain());
    let accepted = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
    let mut grown = 0;
    for (name, count) in counts {
        let Some(before) = accepted(name) else {
            println!("{name:<24} {count:>8}  new: --accept it");
            grown += 1;
            continue;
        };
        let before: u64 = before;
        let change = 100.0 * (*count as f64 / before as f64 - 1.0);
        let too_much = count * 100 > before * (100 + MORE);
        grown += usize::from(too_much);
        println!("{name:<24} {count:>8}  {change:+.1} %{}", if too_much { "  TOO MUCH" } else { "" });
    }
    if !is_same {
        println!(
            "SKIPPED: the accepted counts are of another toolchain than {}, and say nothing of these",
            toolchain()
        );
        println!("instructions: 0 passed; 0 failed; {} skipped", counts.len());
        return true;
    }
    println!("instructions: {} passed; {grown} failed", counts.len() - grown);
    grown == 0
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

/// What counts depend on.
fn toolchain() -> String {
    let version = |program: &str| {
        let said = Command::new(program).arg("--version").output().expect("it tells its version").stdout;
        String::from_utf8_lossy(&said).trim().to_owned()
    };
    format!("{}, {}, {}", version("rustc"), version("valgrind"), std::env::consts::ARCH)
}
