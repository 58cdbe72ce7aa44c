//! What a reload of the configuration replaces, and only as a whole: a request goes by the one that it began under, so that no
//! rule of one configuration ever meets a route of another.

use std::sync::Arc;

use super::headers::Origins;
use super::limits::Limits;
use super::relay::StreamSettings;
use super::route::Routes;
use crate::oauth::AuthorizationServer;
use crate::session::Sessions;

pub struct Live {
    pub origins: Origins,
    pub routes: Routes,
    pub oauth: AuthorizationServer,
    /// Under the rules of this configuration.
    pub sessions: Arc<Sessions>,
    pub streams: StreamSettings,
    pub limits: Limits,
    /// Whether every request writes a line.
    pub access_log: bool,
}
