//! `/servers` of the admin listener: how the servers of every upstream are, and which of them take no new sessions.

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::request::{Refusal, check_get, context, json_answer, read_post, refused};
use crate::audit::{Audit, Event, Field, Kind, Outcome};
use crate::pool::Pools;

pub const LIST: &str = "/servers";
pub const DRAIN: &str = "/servers/drain";
pub const UNDRAIN: &str = "/servers/undrain";

/// What operators may do with servers here. It counts for this replica, until it ends.
pub struct ServersAdmin {
    pub pools: Pools,
    pub audit: Audit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    upstream: String,
    /// As the configuration has it.
    server: String,
}

impl ServersAdmin {
    /// Answers a request for [`LIST`], [`DRAIN`] or [`UNDRAIN`].
    pub async fn answer(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match self.handle(session).await {
            Ok(()) => json_answer(StatusCode::OK, &self.list()),
            Err(refusal) => refused(session, &refusal),
        }
    }

    async fn handle(&self, session: &mut ServerSession) -> Result<(), Refusal> {
        let drains = match session.req_header().uri.path() {
            DRAIN => true,
            UNDRAIN => false,
            _ => return check_get(session),
        };
        let wrong = || Refusal::Wrong("name upstream and server, as GET /servers does".to_owned());
        let wanted: Wanted = serde_json::from_slice(&read_post(session).await?).map_err(|_| wrong())?;
        let server = Url::parse(&wanted.server).map_err(|_| wrong())?;
        let pool = self.pools.all().into_iter().find(|pool| pool.settings().name == wanted.upstream);
        let pool = pool.ok_or(Refusal::Unknown("there is no such upstream"))?;
        if !pool.set_draining(&server, drains) {
            return Err(Refusal::Unknown("the upstream has no such server"));
        }
        let kind = if drains { Kind::ServerDrained } else { Kind::ServerUndrained };
        let event = Event::new(kind, Outcome::Ok).at(&context(session)).text(Field::By, "admin");
        self.audit.record(event.text(Field::Upstream, &wanted.upstream).text(Field::Server, server.as_str()));
        Ok(())
    }

    fn list(&self) -> Value {
        let pools = self.pools.all();
        let rows = pools.iter().flat_map(|pool| {
            pool.servers().into_iter().map(|server| {
                json!({
                    "upstream": pool.settings().name,
                    "server": server.server.origin().ascii_serialization(),
                    "address": server.address.to_string(),
                    "well": server.well,
                    "ejected": server.ejected,
                    "draining": server.draining,
                })
            })
        });
        json!({ "servers": rows.collect::<Vec<_>>() })
    }
}
