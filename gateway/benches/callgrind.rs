//! Valgrind's callgrind around this very program.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::instructions::ROLE;

/// The C library copies long pieces by an instruction that counts once for each byte, where the processor has a fast one.
const TUNABLES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1099511627776:glibc.cpu.x86_rep_stosb_threshold=1099511627776";

/// What was spent where.
pub struct Profile(String);

/// A program that runs, and is counted when told so. Ended when dropped.
pub struct Counted {
    process: Child,
    file: PathBuf,
    /// How often it was asked for what it has counted: each answer is a file of its own.
    asked: Cell<u32>,
}

pub fn is_there() -> bool {
    let said = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    said.is_ok_and(|status| status.success())
}

/// Runs this program in a role, from beginning to end.
pub fn run(role: &str) -> Profile {
    let file = out_file(role);
    let status = command(role, &file, "yes").status().expect("valgrind starts");
    assert!(status.success(), "{role} ended with {status}");
    Profile::read(&file)
}

/// Starts this program in a role, with pipes to its input and output.
pub fn start(role: &str, environment: &[(&str, &str)]) -> Counted {
    let file = out_file(role);
    let mut command = command(role, &file, "no");
    command.envs(environment.iter().copied());
    let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    Counted { process: process.expect("valgrind starts"), file, asked: Cell::new(0) }
}

fn out_file(role: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sallyport-callgrind-{role}-{}", std::process::id()))
}

/// On one processor, so that the number of workers is the same everywhere.
fn command(role: &str, file: &Path, from_start: &str) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &first_processor(), "valgrind", "--tool=callgrind"])
        .arg(format!("--instr-atstart={from_start}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe().expect("it is known"))
        .env(ROLE, role)
        .env("GLIBC_TUNABLES", TUNABLES)
        .stderr(Stdio::null());
    command
}

fn first_processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("the list is there");
    list.trim().split([',', '-']).next().expect("it begins with a number").to_owned()
}

impl Counted {
    pub fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    pub fn begin(&self) {
        self.control(&["-i", "on"]);
    }

    /// From zero.
    pub fn restart(&self) {
        self.control(&["-z"]);
    }

    /// What was counted since.
    pub fn take(&self) -> Profile {
        self.control(&["-d"]);
        self.asked.set(self.asked.get() + 1);
        Profile::read(&PathBuf::from(format!("{}.{}", self.file.display(), self.asked.get())))
    }

    fn control(&self, arguments: &[&str]) {
        let told = Command::new("callgrind_control").args(arguments).arg(self.process.id().to_string()).output();
        assert!(told.expect("callgrind_control starts").status.success(), "callgrind does not listen");
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.process.kill().expect("our own child can be killed");
        self.process.wait().expect("our own child can be waited for");
        // It may have written one or not.
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Profile {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("callgrind has written");
        std::fs::remove_file(file).expect("it is ours");
        Self(text)
    }

    pub fn total(&self) -> u64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
        line.expect("there is a total").trim().parse().expect("it is one number")
    }

    /// What the function of this name took, and all that it called.
    pub fn inside(&self, function: &str) -> u64 {
        let (mut names, mut is_inside, mut sum) = (HashMap::new(), false, 0);
        for line in self.0.lines() {
            if let Some(name) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
                // `(number) name` the first time, `(number)` from then on.
                let (number, name) = name.split_once(' ').unwrap_or((name, ""));
                if !name.is_empty() {
                    names.insert(number, name.split("::").any(|part| part == function));
                }
                if line.starts_with("fn=") {
                    is_inside = names.get(number).copied().unwrap_or_default();
                }
            } else if is_inside && line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                // A line of the source and its cost, be it its own or that of a call.
                sum += line.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok()).unwrap_or_default();
            }
        }
        assert!(sum > 0, "{function} is not in the profile");
        sum
    }
}
