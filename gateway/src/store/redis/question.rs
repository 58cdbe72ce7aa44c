//! One question to Redis: a command or a script with one key, so that a cluster knows which node to ask.

use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::SingleNodeRoutingInfo;
use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind, ToRedisArgs, Value};

use super::link::Connection;

pub struct Question<'a> {
    pub name: &'a str,
    command: Cmd,
    program: Option<&'a Program>,
    /// Changes nothing, so that it may be asked again.
    pub reads: bool,
}

/// A script, and its text: a node that was asked instead of another one may not have it.
pub struct Program {
    script: Script,
    code: &'static str,
}

impl Program {
    pub fn new(code: &'static str) -> Self {
        Self { script: Script::new(code), code }
    }
}

impl<'a> Question<'a> {
    pub fn reading(verb: &str, name: &'a str) -> Self {
        Self { reads: true, ..Self::writing(verb, name) }
    }

    pub fn writing(verb: &str, name: &'a str) -> Self {
        let mut command = ::redis::cmd(verb);
        command.arg(name);
        Self { name, command, program: None, reads: false }
    }

    pub fn running(program: &'a Program, name: &'a str) -> Self {
        let mut command = ::redis::cmd("EVALSHA");
        command.arg(program.script.get_hash()).arg(1).arg(name);
        Self { name, command, program: Some(program), reads: false }
    }

    pub fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }

    pub async fn ask<T: FromRedisValue>(&self, connection: &mut Connection) -> Result<T, RedisError> {
        match self.command.query_async(connection).await {
            Err(error) if is(&error, ServerErrorKind::NoScript) => self.load_and_ask(connection, error).await,
            Err(error) if error.redirect_node().is_some() => match connection {
                Connection::Cluster(cluster) => self.ask_elsewhere(cluster, error).await,
                Connection::Server { .. } => Err(error),
            },
            answer => answer,
        }
    }

    async fn load_and_ask<T: FromRedisValue>(
        &self,
        connection: &mut Connection,
        error: RedisError,
    ) -> Result<T, RedisError> {
        let program = self.program.ok_or(error)?;
        // In a cluster this goes to every node. That one of them is away does not matter if it is not the one we ask.
        let loaded = program.script.load_async(connection).await;
        match self.command.query_async(connection).await {
            Err(error) if is(&error, ServerErrorKind::NoScript) => Err(loaded.err().unwrap_or(error)),
            answer => answer,
        }
    }

    /// Of the node that has this name now (`MOVED`), or that it is being moved to (`ASK`). Neither was done. The client would
    /// look for the node itself, and believe another one that has not heard of the change yet.
    async fn ask_elsewhere<T: FromRedisValue>(
        &self,
        cluster: &mut ClusterConnection,
        error: RedisError,
    ) -> Result<T, RedisError> {
        let node = error.redirect_node().and_then(|(node, _)| {
            let (host, port) = node.rsplit_once(':')?;
            Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? })
        });
        let Some(node) = node else { return Err(error) };
        let mut pipeline = ::redis::pipe();
        if let Some(program) = self.program {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(program.code);
        }
        if is(&error, ServerErrorKind::Ask) {
            // It counts for the next command of the connection, so nothing may come between the two.
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(self.command.clone());
        let count = pipeline.len();
        match cluster.route_pipeline(pipeline, 0, count, node).await {
            Ok(answers) => {
                let answer = answers.into_iter().next_back().unwrap_or(Value::Nil).extract_error()?;
                Ok(T::from_redis_value(answer)?)
            }
            // The client does not know that node yet.
            Err(unknown) if unknown.kind() == ErrorKind::ClusterConnectionNotFound => Err(error),
            Err(other) => Err(other),
        }
    }
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}
