//! Memory that is not written to swap, for keys that live as long as the process.
//!
//! A value has its pages to itself: the system locks whole pages and does not count how often, so that the end of one secret
//! would unlock another on the same page.

use std::ops::Deref;

use region::LockGuard;

/// A value on pages of its own, which stay in memory if the system allows it (`RLIMIT_MEMLOCK`). It serves all the same if
/// not: whoever cares asks [`Locked::is_locked`].
pub struct Locked<T> {
    /// Dropped before the memory goes back.
    lock: Option<LockGuard>,
    value: Box<Alone<T>>,
}

/// As large as pages are anywhere. What is behind the value is never touched, and so is no memory but address space.
#[repr(align(65536))]
struct Alone<T>(T);

impl<T> Locked<T> {
    pub fn new(value: T) -> Self {
        let value = Box::new(Alone(value));
        Self { lock: region::lock(&raw const value.0, size_of::<T>()).ok(), value }
    }

    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value.0
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Of the mapping that an address lies in, in KiB.
    fn locked_kib(address: usize) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut here = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                here = (from..to).contains(&address);
            } else if let Some(size) = line.strip_prefix("Locked:").filter(|_| here) {
                return size.trim().trim_end_matches(" kB").parse().unwrap();
            }
        }
        panic!("the address is in no mapping");
    }

    #[test]
    fn a_value_is_locked_in_memory_until_it_is_dropped() {
        let (one, two) = (Locked::new([7_u8; 5000]), Locked::new([8_u8; 100]));
        assert!(one.is_locked() && two.is_locked(), "this machine's RLIMIT_MEMLOCK is too low for the test");
        assert_eq!((*one, *two), ([7; 5000], [8; 100]));
        assert!(locked_kib(one.as_ptr().addr()) >= 8);
        drop(one);
        assert!(locked_kib(two.as_ptr().addr()) >= 4, "the end of one unlocks no other");
    }
}
