//! Reads files of the log back: is every line ours, and does each follow the one before?
//!
//! What cannot be told from the files alone is a cut at the very end, or before the first line: whoever needs that compares the
//! last number with what the metrics have, or sends the lines elsewhere as they come.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use super::line::{Link, hash};
use crate::sealed::AuditKey;

pub struct Verifier {
    keys: HashMap<u32, AuditKey>,
    /// The number and the hash of the line before.
    before: Option<(u64, [u8; 32])>,
    /// The first of the lines that no key here proves, nor yet a later line.
    unproven: Option<Unproven>,
    all: Verified,
}

/// What was found of lines that are all in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub lines: u64,
    /// The numbers and times of the first and the last line.
    pub first: Option<(u64, String)>,
    pub last: Option<(u64, String)>,
    /// So many events have no line, as lines say: the queue or the disk was full.
    pub missing: u64,
}

/// Where the chain breaks, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Counted from 1 in its file.
    pub line: u64,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("is no line of this log, or was changed")]
    Foreign,
    #[error("was changed: its proof is not of what it says")]
    Forged,
    #[error("does not follow the line before: that was changed")]
    Unlinked,
    #[error("does not follow the line before: {0} lines between are gone")]
    Gone(u64),
    #[error("has the number {0} once more: it was moved or copied, or begins a log anew")]
    Again(u64),
    #[error("begins a log anew: what was before is in another file, or gone")]
    Anew,
    #[error("is not whole")]
    Torn,
    #[error("cannot be proven: key {0} is not in the ring, and no later line is under one that is")]
    Unproven(u32),
}

#[derive(Clone, Copy)]
struct Unproven {
    line: u64,
    key: u32,
}

impl Verifier {
    /// With the keys that open, as the ring has them.
    pub fn new(keys: Vec<AuditKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id().get(), key)).collect();
        Self { keys, before: None, unproven: None, all: Verified::default() }
    }

    /// Reads a file that follows those read before.
    ///
    /// # Errors
    /// When it cannot be read; within, at the first line that is not in order.
    pub fn read(&mut self, mut file: impl BufRead) -> io::Result<Result<(), Break>> {
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            number += 1;
            if file.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                return Ok(Ok(()));
            }
            let checked = match line.strip_suffix(b"\n") {
                Some(line) => self.check(line, number),
                None => Err(Why::Torn),
            };
            if let Err(why) = checked {
                return Ok(Err(Break { line: number, why }));
            }
        }
    }

    /// After the last file.
    pub fn finish(self) -> Result<Verified, Break> {
        match self.unproven {
            None => Ok(self.all),
            Some(Unproven { line, key }) => Err(Break { line, why: Why::Unproven(key) }),
        }
    }

    fn check(&mut self, line: &[u8], number: u64) -> Result<(), Why> {
        let link = Link::parse(line).ok_or(Why::Foreign)?;
        match self.keys.get(&link.key) {
            Some(key) if !key.proves(link.proven, &link.proof) => return Err(Why::Forged),
            Some(_) => self.unproven = None,
            None => {
                self.unproven.get_or_insert(Unproven { line: number, key: link.key });
            }
        }
        if let Some((sequence, last)) = self.before {
            match link.sequence {
                1 => return Err(Why::Anew),
                this if this <= sequence => return Err(Why::Again(this)),
                this if this > sequence + 1 => return Err(Why::Gone(this - sequence - 1)),
                _ if link.previous != last => return Err(Why::Unlinked),
                _ => {}
            }
        }
        self.before = Some((link.sequence, hash(line)));
        self.all.lines += 1;
        self.all.missing += link.missing;
        let here = (link.sequence, link.time);
        self.all.first.get_or_insert_with(|| here.clone());
        self.all.last = Some(here);
        Ok(())
    }
}

/// Of a line that could be ours.
const LONGEST: u64 = 64 * 1024;
