//! `[limits]`.

use std::num::NonZeroU32;

use super::super::reader::Section;
use super::bounds;
use crate::edge::Bounds;
use crate::rate::Rate;
use crate::server::ConnectionLimits;
use crate::{edge, oauth};

/// `None` goes with a mistake.
pub struct Limits {
    pub connections: Option<ConnectionLimits>,
    pub bounds: Option<Bounds>,
    pub oauth: Option<oauth::LimitSettings>,
    pub edge: Option<edge::LimitSettings>,
    pub streams_per_session: Option<u32>,
}

pub fn read(section: &Section<'_>) -> Limits {
    let number = |key, default| section.number(key, default, 1..=AT_MOST).and_then(NonZeroU32::new);
    let per_minute = |key, default| number(key, default).map(Rate::per_minute);
    // A person adds a server to several clients in a row, and a fleet of them starts at nine.
    let registrations = number("registrations_per_minute", 10)
        .map(|registrations| Rate::per_minute(registrations).burst(registrations.saturating_mul(TWICE)));
    let authorizations = per_minute("authorizations_per_minute", 60);
    let token_requests = per_minute("token_requests_per_minute", 120);
    let refusals = per_minute("refusals_per_minute", 60);
    let (per_second, burst) = (number("requests_per_second", 50), number("burst", 200));
    let streams_per_session = section.number("streams_per_session", 32, 1..=10_000);
    let defaults = ConnectionLimits::default();
    let files_reserved = section.optional_number("files_reserved", 16..=AT_MOST).unwrap_or(defaults.files_reserved);
    // Without it, what the process may open files for decides: it is no constant.
    let by_default = ConnectionLimits::in_all_by_default(files_reserved);
    let in_all = section.optional_number("connections", 1..=AT_MOST).unwrap_or(by_default);
    let exchanges = section.optional_number("exchanges", 1..=AT_MOST).unwrap_or(by_default);
    let resets = number("resets_per_connection", 200).map(NonZeroU32::get);
    let per_address = number("connections_per_address", defaults.per_address).map(NonZeroU32::get);
    let shed_idle_at = section.number("shed_idle_at", defaults.shed_idle_at, 10..=100);
    let per_connection = number("requests_per_connection", defaults.requests).map(NonZeroU32::get);
    let http2_streams = section.number("http2_streams", defaults.http2_streams, 1..=1_000);
    let http2_idle = bounds::http2_idle(section);
    let bounds = bounds::read(section);
    section.finish();
    let requests = per_second.zip(burst).map(|(per_second, burst)| Rate::per_second(per_second).burst(burst));
    Limits {
        connections: (|| {
            Some(ConnectionLimits {
                in_all,
                per_address: per_address?,
                files_reserved,
                shed_idle_at: shed_idle_at?,
                requests: per_connection?,
                http2_streams: http2_streams?,
                http2_idle: http2_idle?,
            })
        })(),
        bounds,
        oauth: (|| {
            let (registrations, authorizations, token_requests) = (registrations?, authorizations?, token_requests?);
            Some(oauth::LimitSettings { registrations, authorizations, token_requests })
        })(),
        edge: (|| Some(edge::LimitSettings { requests: requests?, refusals: refusals?, exchanges, resets: resets? }))(),
        streams_per_session,
    }
}

const AT_MOST: u32 = 1_000_000;
const TWICE: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");
