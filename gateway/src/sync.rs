//! What threads of this process meet at, for the few types whose every schedule matters. `tests/schedules.rs` compiles the
//! files that use this module once more, over Shuttle's stand-ins, and tries orders in which threads can run.

pub use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use arc_swap::{ArcSwap, Guard};
pub use tokio::sync::{Mutex as Queue, OnceCell, OwnedMutexGuard};
