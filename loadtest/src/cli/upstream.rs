//! `loadtest upstream`: the stand-in for an MCP server.

use std::time::Duration;

use clap::Args;

use crate::awake::Awake;
use crate::upstream::Upstream;

#[derive(Args)]
pub struct Serve {
    /// Port on 127.0.0.1; 0 takes a free one, and says which.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Bytes of the answer to a call; 16 MiB at most.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(..=16 * 1024 * 1024))]
    answer_bytes: u32,
    /// Milliseconds between the events of a stream; an hour at most. Without it streams are silent.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    event_every_ms: Option<u64>,
    /// Never sleep: nobody pays for waking it.
    #[arg(long)]
    awake: bool,
}

impl Serve {
    /// # Errors
    /// When the port is taken, or the listener fails.
    #[expect(clippy::print_stdout, reason = "whoever started it reads where it listens")]
    pub async fn run(self) -> anyhow::Result<()> {
        let upstream = Upstream {
            answer_bytes: self.answer_bytes as usize,
            event_interval: self.event_every_ms.map(Duration::from_millis),
        };
        let _awake = self.awake.then(Awake::stay);
        let bound = upstream.bind(self.port).await?;
        println!("listening on http://{}", bound.address()?);
        bound.serve().await?;
        Ok(())
    }
}
