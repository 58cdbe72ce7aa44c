//! Orders in which threads can run: the cells that requests meet at, over Shuttle's stand-ins, which choose who goes on at
//! every step. The same files as in the gateway are compiled here, with another `sync`.

#[path = "../src/session/cache/flight.rs"]
mod flight;
#[path = "../src/sealed/in_use.rs"]
mod in_use;
#[path = "../src/session/flights.rs"]
mod turns;

/// What `src/sync.rs` is to the gateway.
mod sync {
    pub use shuttle::sync::{Arc, Mutex, MutexGuard, PoisonError};
    pub use shuttle_tokio::sync::{Mutex as Queue, OnceCell, OwnedMutexGuard};

    /// A load is one step and a store is one, as with the original.
    pub struct ArcSwap<T>(Mutex<Arc<T>>);

    pub type Guard<T> = T;

    impl<T> ArcSwap<T> {
        pub fn from_pointee(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        pub fn load(&self) -> Guard<Arc<T>> {
            self.0.lock().expect("nobody panics with it").clone()
        }

        pub fn store(&self, value: Arc<T>) {
            *self.0.lock().expect("nobody panics with it") = value;
        }
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::future::{block_on, spawn, yield_now};

/// How many orders are tried; more of them by `SALLYPORT_SCHEDULES`.
fn schedules() -> usize {
    std::env::var("SALLYPORT_SCHEDULES").map_or(5_000, |schedules| schedules.parse().expect("a number of schedules"))
}

/// Polls once and gives up, as a request does whose client leaves.
async fn leave_early(asked: impl Future<Output = u8>) {
    let mut asked = std::pin::pin!(asked);
    std::future::poll_fn(|context| {
        let _ = asked.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

#[test]
fn one_asks_for_all_whoever_leaves_and_nothing_is_left() {
    let schedule = || {
        let flights = Arc::new(flight::Flights::<u8, u8>::default());
        let (asking, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (flights, asking, asked) = (flights.clone(), asking.clone(), asked.clone());
                spawn(async move {
                    let ask = || async {
                        // Whoever leaves stops asking at the same moment.
                        let asking = Counted::new(&asking);
                        assert_eq!(asking.others, 0, "two ask the same at the same time");
                        let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                        yield_now().await;
                        number as u8
                    };
                    if caller == 0 {
                        leave_early(flights.share(7, ask())).await;
                    }
                    let (first, second) = (flights.share(7, ask()).await, flights.share(7, ask()).await);
                    assert!(first < second, "whoever asks after an answer gets another one");
                })
            })
            .collect();
        block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
        });
        assert!(flights.is_empty(), "a place is left though nobody waits");
    };
    shuttle::check_random(schedule, schedules());
    shuttle::check_pct(schedule, schedules(), 3);
}

#[test]
fn turns_do_not_overlap_whoever_leaves_and_nothing_is_left() {
    let schedule = || {
        let (turns, inside) = (Arc::new(turns::Flights::<u8>::default()), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..4)
            .map(|caller: u8| {
                let (turns, inside) = (turns.clone(), inside.clone());
                spawn(async move {
                    let work = async {
                        let _turn = turns.turn(7).await;
                        let inside = Counted::new(&inside);
                        assert_eq!(inside.others, 0, "two have their turn at the same time");
                        yield_now().await;
                        0
                    };
                    match caller {
                        0 => leave_early(work).await,
                        _ => assert_eq!(work.await, 0),
                    }
                })
            })
            .collect();
        block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
        });
        assert!(turns.is_empty(), "a line is left though nobody stands in it");
    };
    shuttle::check_random(schedule, schedules());
    shuttle::check_pct(schedule, schedules(), 3);
}

/// A ring admits what is newer than itself. Two writers must not pass that check both and then store in the other order.
#[test]
fn a_replacement_is_never_replaced_by_what_it_would_refuse() {
    let schedule = || {
        let ring = Arc::new(in_use::InUse::new(0));
        let writers: Vec<_> = [1, 2, 3]
            .map(|successor| {
                let ring = ring.clone();
                shuttle::thread::spawn(move || {
                    ring.replace(|current| if successor > *current { Ok(successor) } else { Err(*current) })
                })
            })
            .into();
        let reader = shuttle::thread::spawn({
            let ring = ring.clone();
            move || {
                let (first, second) = (*ring.load(), *ring.load());
                assert!(first <= second, "{second} came after {first}");
            }
        });
        for (successor, writer) in (1..).zip(writers) {
            if let Err(found) = writer.join().unwrap() {
                assert!(found > successor);
            }
        }
        reader.join().unwrap();
        assert_eq!(*ring.load(), 3);
    };
    shuttle::check_random(schedule, schedules());
    shuttle::check_dfs(schedule, Some(schedules()));
}

/// One of those who are somewhere, until it is dropped.
struct Counted<'a> {
    count: &'a AtomicUsize,
    others: usize,
}

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, others: count.fetch_add(1, Ordering::SeqCst) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}
