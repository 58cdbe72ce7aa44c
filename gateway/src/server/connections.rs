//! How many connections there are, in all and of each source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::metrics::Metrics;
use crate::source::SourceAddress;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub in_all: u32,
    pub per_address: u32,
    /// Files that are never a client's: for Redis, Entra, the admin listener, logs. Half of all at most.
    pub files_reserved: u32,
    /// From how many percent on, of the connections or of the clients' files, the longest idle make room for new ones.
    /// 100: never.
    pub shed_idle_at: u32,
    /// How many requests a connection of HTTP/1.1 serves.
    pub requests: u32,
    /// How many requests may be under way on a connection of HTTP/2.
    pub http2_streams: u32,
    /// How long a connection of HTTP/2 may be idle.
    pub http2_idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let files_reserved = FILES_RESERVED.min(files() / 4);
        Self {
            in_all: Self::in_all_by_default(files_reserved),
            per_address: 200,
            files_reserved,
            shed_idle_at: 80,
            requests: 10_000,
            http2_streams: 100,
            http2_idle: Duration::from_secs(300),
        }
    }
}

impl ConnectionLimits {
    /// As many as this process may have files open for: one for the client, one for the server behind it, and one to a server that
    /// waits for the next request.
    pub fn in_all_by_default(files_reserved: u32) -> u32 {
        (files_of_clients(files_reserved) / FILES_EACH).max(1)
    }

    /// How many connections to servers may wait for the next request, in each of so many `stores` of them. Calls that end at once
    /// leave as many: those beyond would be closed, and opened anew for the next calls.
    pub fn waiting(&self, stores: u32) -> usize {
        let waiting = files_of_clients(self.files_reserved) / FILES_EACH / stores;
        waiting.clamp(1, MOST_WAITING) as usize
    }
}

/// Three files for each client connection.
const FILES_EACH: u32 = 3;
/// Pingora makes room for all of them at the start.
const MOST_WAITING: u32 = 4096;

/// Of few files, a quarter.
const FILES_RESERVED: u32 = 256;
const FILES_UNBOUNDED: u32 = 1 << 20;

fn files_of_clients(reserved: u32) -> u32 {
    let files = files();
    files - reserved.min(files / 2)
}

/// How many files this process may have open.
fn files() -> u32 {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| u32::try_from(files).ok());
    files.unwrap_or(FILES_UNBOUNDED).min(FILES_UNBOUNDED)
}

/// Counts connections while they are open.
pub struct Connections {
    limits: ConnectionLimits,
    /// How many the process may have open before it gets into what is reserved.
    files: u32,
    open: Mutex<Open>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    all: u32,
    /// Only sources that have one.
    by_source: HashMap<SourceAddress, u32>,
    other_files: OtherFiles,
}

/// How many files are open that are no client connections: at least so many as a new connection's descriptor shows, for all below
/// it are in use. When some are free far below, it shows less than there are, and so the most that was seen lately counts.
#[derive(Default)]
struct OtherFiles {
    now: u32,
    before: u32,
    since: Option<Instant>,
}

/// What is lately.
const LATELY: Duration = Duration::from_secs(10);

/// The place of one connection, until it is dropped.
pub struct Place {
    connections: Arc<Connections>,
    /// `None` for a trusted proxy: many clients come on its connections.
    source: Option<SourceAddress>,
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("there are too many connections")]
    InAll,
    #[error("there are too many connections from this address")]
    OfAddress,
    #[error("hardly any file is left to open")]
    Files,
}

impl Full {
    /// A label for the metric.
    pub fn name(self) -> &'static str {
        match self {
            Full::InAll => "connections",
            Full::OfAddress => "connections_per_address",
            Full::Files => "files",
        }
    }
}

impl Connections {
    pub fn new(limits: ConnectionLimits, metrics: Arc<Metrics>) -> Arc<Self> {
        let files = files_of_clients(limits.files_reserved);
        Arc::new(Self { limits, files, open: Mutex::default(), metrics })
    }

    /// Whether there is so little room, with a connection that has this descriptor, that idle ones should make some.
    pub fn are_tight(&self, descriptor: i32, now: Instant) -> bool {
        let ConnectionLimits { in_all, shed_idle_at, .. } = self.limits;
        let is_tight = |used: u32, of: u32| u64::from(used) * 100 >= u64::from(of) * u64::from(shed_idle_at);
        let mut open = self.open();
        let (all, descriptor) = (open.all, u32::try_from(descriptor).unwrap_or(0));
        let files = all + open.other_files.seen(descriptor.saturating_sub(all), now);
        shed_idle_at < 100 && (is_tight(files, self.files) || is_tight(all, in_all))
    }

    /// Whether a connection with this descriptor leaves enough of them for what is not a client's, whatever the limits say.
    /// The kernel gives the lowest one that is free: all below it are in use.
    ///
    /// # Errors
    /// When it does not. That is counted.
    pub fn spare(&self, descriptor: i32) -> Result<(), Full> {
        if u32::try_from(descriptor).is_ok_and(|descriptor| descriptor >= self.files) {
            self.metrics.limited(Full::Files.name());
            return Err(Full::Files);
        }
        Ok(())
    }

    /// A place among all; `source` counts too unless many clients come on this connection, or it is not known yet.
    ///
    /// # Errors
    /// When there are too many already. That is counted.
    pub fn place(self: &Arc<Self>, source: Option<SourceAddress>) -> Result<Place, Full> {
        {
            let mut open = self.open();
            if open.all >= self.limits.in_all {
                self.metrics.limited(Full::InAll.name());
                return Err(Full::InAll);
            }
            open.all += 1;
            self.metrics.connections(open.all);
        }
        let place = Place { connections: self.clone(), source: None };
        match source {
            Some(source) => place.of(source),
            None => Ok(place),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is locked; a panic elsewhere leaves it whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether many clients come on the connection.
    pub fn is_shared(&self) -> bool {
        self.source.is_none()
    }

    /// The same place, now of this source.
    ///
    /// # Errors
    /// When the source has too many already. That is counted, and the place is given up.
    pub fn of(mut self, source: SourceAddress) -> Result<Self, Full> {
        let counted = self.connections.open().count(source, self.connections.limits.per_address);
        if !counted {
            self.connections.metrics.limited(Full::OfAddress.name());
            return Err(Full::OfAddress);
        }
        self.source = Some(source);
        Ok(self)
    }
}

impl OtherFiles {
    /// At least so many are open now. Gives how many there probably are.
    fn seen(&mut self, count: u32, now: Instant) -> u32 {
        if now.saturating_duration_since(*self.since.get_or_insert(now)) >= LATELY {
            (self.before, self.now, self.since) = (self.now, 0, Some(now));
        }
        self.now = self.now.max(count);
        self.now.max(self.before)
    }
}

impl Open {
    fn count(&mut self, source: SourceAddress, limit: u32) -> bool {
        let of_source = self.by_source.entry(source).or_default();
        let room = *of_source < limit;
        if room {
            *of_source += 1;
        }
        room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all -= 1;
        self.connections.metrics.connections(open.all);
        if let Some(source) = self.source
            && let Some(of_source) = open.by_source.get_mut(&source)
        {
            *of_source -= 1;
            if *of_source == 0 {
                open.by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_source_and_in_all_and_come_back() {
        let limits = ConnectionLimits { in_all: 3, per_address: 2, ..ConnectionLimits::default() };
        let connections = Connections::new(limits, Arc::new(Metrics::default()));
        let source = |last| Some(SourceAddress::new([192, 0, 2, last].into()));
        let first = connections.place(source(1)).ok();
        let second = connections.place(source(1)).ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(connections.place(source(1)).err(), Some(Full::OfAddress));
        let third = connections.place(source(2)).ok();
        assert!(third.is_some());
        assert_eq!(connections.place(source(3)).err(), Some(Full::InAll));
        assert_eq!(connections.place(None).err(), Some(Full::InAll));
        drop((second, third));
        let (later, other) = (connections.place(None), connections.place(None));
        assert!(later.is_ok() && other.is_ok(), "a proxy's connections count together with all others only");
        drop(other);
        let later = later.ok().unwrap().of(SourceAddress::new([192, 0, 2, 1].into()));
        assert!(later.is_ok(), "whom a proxy speaks for is counted when he is known");
        assert_eq!(connections.place(source(1)).err(), Some(Full::OfAddress));
        drop((first, later));
        assert!(connections.open().by_source.is_empty() && connections.open().all == 0);
    }

    #[test]
    fn clients_and_both_kinds_of_connections_to_servers_have_files() {
        let limits = ConnectionLimits::default();
        let (clients, stores) = (limits.in_all as usize, 2);
        let (waiting, files) = (limits.waiting(stores) * stores as usize, files_of_clients(limits.files_reserved));
        // A client each, an exchange each, and whatever waits.
        assert!(2 * clients + waiting <= files as usize, "{clients} clients, {waiting} that wait, {files} files");
        assert_eq!(ConnectionLimits { files_reserved: u32::MAX, ..limits }.waiting(u32::MAX), 1, "never none");
    }

    #[test]
    fn room_is_made_before_there_is_none() {
        let limits = ConnectionLimits { in_all: 10, shed_idle_at: 80, ..ConnectionLimits::default() };
        let connections = Connections::new(limits, Arc::new(Metrics::default()));
        let (mut places, now) = (Vec::new(), Instant::now());
        for number in 0..10 {
            assert_eq!(connections.are_tight(3, now), number >= 8, "{number}");
            places.push(connections.place(None));
        }
        let never = ConnectionLimits { shed_idle_at: 100, ..limits };
        assert!(!Connections::new(never, Arc::new(Metrics::default())).are_tight(i32::MAX, now));
    }

    #[test]
    fn files_are_tight_also_where_some_are_free_far_below() {
        let limits = ConnectionLimits { in_all: 1_000_000, shed_idle_at: 80, ..ConnectionLimits::default() };
        let connections = Connections::new(limits, Arc::new(Metrics::default()));
        let at = i32::try_from(connections.files * 4 / 5).unwrap();
        let now = Instant::now();
        assert!(!connections.are_tight(at - 5, now), "of the clients' files fewer than 80 % are in use");
        let places: Vec<_> = (0..5).map(|_| connections.place(None).ok().unwrap()).collect();
        assert!(connections.are_tight(at + 1, now), "one more than enough");
        assert!(connections.are_tight(7, now), "one below was closed, and all the others are there");
        assert!(connections.are_tight(7, now + LATELY) && !connections.are_tight(7, now + 2 * LATELY));
        drop(places);
        assert!(!connections.are_tight(at - 5, now));
    }
}
