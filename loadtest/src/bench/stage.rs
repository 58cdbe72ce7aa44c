//! Where a run happens: a folder of its own, free ports, and which core is whose. Everything that listens does so on
//! loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::available_parallelism;

use anyhow::{Context, ensure};

use super::Bench;
use super::contestant::Contestant;
use super::program::Program;
use crate::target::Target;
use crate::work::{Expected, Work};

pub struct Stage {
    folder: PathBuf,
    programs: PathBuf,
    /// How many there were before this process was bound to some of them; None: nobody is bound.
    cores: Option<usize>,
    realtime: bool,
    /// Whether the upstream is started so that it never sleeps.
    awake: bool,
    count: usize,
}

/// Whose core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The first core: whoever is measured has it alone, and one worker with it.
    Proxy,
    /// The others, three at most: the generator, the upstream, Redis.
    Load,
}

/// A running server.
pub struct Serving {
    pub address: SocketAddr,
    pub program: Program,
}

/// So many were there in this process, each with a folder of its own.
static STAGES: AtomicU32 = AtomicU32::new(0);

impl Stage {
    /// # Errors
    /// When the folder cannot be made, or cores cannot be told apart although there are several.
    pub fn open(bench: &Bench) -> anyhow::Result<Self> {
        let number = STAGES.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sallyport-bench-{}-{number}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let cores = pins(bench).then(cores);
        let (realtime, awake) = (bench.realtime, stays_awake(bench));
        let stage = Self { folder, programs: bench.programs.clone(), cores, realtime, awake, count: 0 };
        let own = process::id().to_string();
        if let Some(cores) = stage.cores_of(Side::Load) {
            tell("taskset", &["-a", "-c", "-p", &cores, &own])?;
        }
        if bench.realtime {
            tell("chrt", &["-a", "-r", "-p", "1", &own])?;
        }
        Ok(stage)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One of ours.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A command for one side, which ends when this process does.
    pub fn command(&self, side: Side, program: &Path) -> Command {
        let mut before = vec!["--pdeathsig".to_owned(), "KILL".to_owned()];
        if let Some(cores) = self.cores_of(side) {
            before.extend(["taskset".to_owned(), "-c".to_owned(), cores]);
        }
        if self.realtime {
            before.extend(["chrt".to_owned(), "-r".to_owned(), "1".to_owned()]);
        }
        let mut command = Command::new("setpriv");
        command.args(before).arg(program).current_dir(&self.folder);
        command
    }

    /// Starts it, with a log of its own in the folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, name: &str, command: Command) -> anyhow::Result<Program> {
        self.count += 1;
        Program::start(name, command, self.folder.join(format!("{}-{name}.log", self.count)))
    }

    /// A file of the run's own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The stand-in for an MCP server, as a process of its own; with events if it is told how often.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn upstream(&mut self, event_every_ms: Option<u64>) -> anyhow::Result<Serving> {
        let address = free_address()?;
        let mut command = self.command(Side::Load, &self.program("loadtest"));
        command.arg("upstream").arg("--port").arg(address.port().to_string());
        if let Some(milliseconds) = event_every_ms {
            command.arg("--event-every-ms").arg(milliseconds.to_string());
        }
        if self.awake {
            command.arg("--awake");
        }
        self.serve("upstream", command, address).await
    }

    /// The pass-through, with the allocator of the system and with mimalloc; and one that refuses everybody unasked, which is
    /// the least that a refusal costs.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn bare(&mut self, upstream: &Serving) -> anyhow::Result<Vec<Contestant>> {
        let mut contestants = Vec::new();
        for (program, name) in [("bare-pingora", BARE), ("bare-pingora-mimalloc", "bare Pingora, mimalloc")] {
            let serving = self.pass_through(program, upstream.address, &[]).await?;
            contestants.push(Contestant::tools_list(name, "proxy", serving)?);
        }
        let serving = self.pass_through("bare-pingora-mimalloc", upstream.address, &[Path::new("--refuse")]).await?;
        let target: Target = format!("http://{}/mcp", serving.address).parse()?;
        let work = Work::tools_list(&target, Expected::REFUSED);
        contestants.push(Contestant::new(
            "bare Pingora, mimalloc, refusing",
            "401 to everybody",
            target,
            work,
            serving,
        ));
        Ok(contestants)
    }

    /// One of the two, with more arguments.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn pass_through(
        &mut self,
        program: &str,
        upstream: SocketAddr,
        more: &[&Path],
    ) -> anyhow::Result<Serving> {
        self.pass_through_by(&self.program(program), upstream, more).await
    }

    /// Another build of them.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn pass_through_by(
        &mut self,
        program: &Path,
        upstream: SocketAddr,
        more: &[&Path],
    ) -> anyhow::Result<Serving> {
        let address = free_address()?;
        let mut command = self.command(Side::Proxy, program);
        command.args(["--listen", &address.to_string(), "--upstream", &upstream.to_string()]).args(more);
        self.serve("bare-pingora", command, address).await
    }

    /// Starts a server that listens at `address`.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn serve(&mut self, name: &str, command: Command, address: SocketAddr) -> anyhow::Result<Serving> {
        let mut program = self.start(name, command)?;
        program.listens_at(address).await?;
        Ok(Serving { address, program })
    }

    fn cores_of(&self, side: Side) -> Option<String> {
        let last = self.cores?.min(MOST_CORES) - 1;
        Some(if side == Side::Proxy { "0".to_owned() } else { format!("1-{last}") })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed is left to the system. It holds tokens of a stand-in that is gone.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// On loopback. Somebody else may take it before it is used: then whoever was to listen there says so.
///
/// # Errors
/// When no port is free.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Whether each side gets cores of its own.
pub fn pins(bench: &Bench) -> bool {
    bench.pin && cores() > 1
}

/// Whether generator and upstream never sleep. Not in the real-time class, where the kernel halts whoever is always busy for a
/// twentieth of each second (sched(7)): nothing could be offered at a fixed rate.
pub fn stays_awake(bench: &Bench) -> bool {
    pins(bench) && !bench.realtime
}

pub fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn tell(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("{program} is missing (util-linux)"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// More would not help: the measured has one.
const MOST_CORES: usize = 4;
/// What everything is compared with.
pub const BARE: &str = "bare Pingora";
