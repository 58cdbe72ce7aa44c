//! FastMCP as PyPI has it, behind its own OAuth proxy (`fastmcp_proxy.py`). It serves its own tools: it is no proxy for others.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::super::contestant::Contestant;
use super::super::stage::{Side, Stage, free_address};
use crate::mix::Mix;
use crate::target::Target;
use crate::work::{Expected, Work};

/// # Errors
/// When it is not installed, or does not come up.
pub async fn start(stage: &mut Stage, contestants: Option<&Path>, sessions: usize) -> anyhow::Result<Contestant> {
    let python = contestants.map(|folder| folder.join("python")).filter(|_| installed(contestants));
    let python = python.context("FastMCP is not installed (loadtest/contestants)")?;
    let script = stage.file("fastmcp_proxy.py", include_str!("fastmcp_proxy.py"))?;
    let (address, tokens) = (free_address()?, stage.folder().join("fastmcp-tokens"));
    let mut command = stage.command(Side::Proxy, &python);
    command.arg(script).args(["--port", &address.port().to_string(), "--sessions", &sessions.to_string()]);
    command.arg("--tokens").arg(&tokens).env("HOME", stage.folder()).env("PYTHONDONTWRITEBYTECODE", "1");
    let serving = stage.serve("fastmcp", command, address).await?;
    let target: Target = format!("http://127.0.0.1:{}/mcp", address.port()).parse()?;
    let tokens = fs::read_to_string(&tokens).context("FastMCP left no tokens")?;
    let mix = Mix::new(tokens.lines().count(), 0.0).context("FastMCP left no tokens")?;
    let work = Work::tools_list(&target, Expected::RESULT).by(tokens.lines(), mix)?;
    Ok(Contestant::new(NAME, "its own token check, and serves", target, work, serving).with_callers(CALLERS))
}

fn installed(contestants: Option<&Path>) -> bool {
    contestants.is_some_and(|folder| folder.join("fastmcp").is_file())
}

pub const NAME: &str = "FastMCP, OAuth proxy";
/// A call takes milliseconds.
const CALLERS: usize = 8;
