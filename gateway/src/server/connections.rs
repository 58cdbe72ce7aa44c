//! How many connections there are, in all and of each source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};

use crate::metrics::Metrics;
use crate::source::SourceAddress;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub in_all: u32,
    pub per_address: u32,
}

impl Default for ConnectionLimits {
    /// As many as this process may have files open for: one for the client and one for the server behind it.
    fn default() -> Self {
        let in_all = files_of_clients() / 2;
        Self { in_all: u32::try_from(in_all).unwrap_or(u32::MAX).max(1), per_address: 200 }
    }
}

/// For Redis, Entra, the admin listener, logs; of few files, a quarter.
const FILES_RESERVED: u64 = 256;
const FILES_UNBOUNDED: u64 = 1 << 20;

/// How many files this process may have open before it gets into what is reserved.
fn files_of_clients() -> u64 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES_UNBOUNDED).min(FILES_UNBOUNDED);
    files - FILES_RESERVED.min(files / 4)
}

/// Counts connections while they are open.
pub struct Connections {
    limits: ConnectionLimits,
    files: u64,
    open: Mutex<Open>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    all: u32,
    /// Only sources that have one.
    by_source: HashMap<SourceAddress, u32>,
}

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
        Arc::new(Self { limits, files: files_of_clients(), open: Mutex::default(), metrics })
    }

    /// Whether a connection with this descriptor leaves enough of them for what is not a client's, whatever the limits say.
    /// The kernel gives the lowest one that is free: all below it are in use.
    ///
    /// # Errors
    /// When it does not. That is counted.
    pub fn spare(&self, descriptor: i32) -> Result<(), Full> {
        if u64::try_from(descriptor).is_ok_and(|descriptor| descriptor >= self.files) {
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
        let limits = ConnectionLimits { in_all: 3, per_address: 2 };
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
}
