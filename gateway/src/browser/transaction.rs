//! One authorization in one browser.

use base16ct::lower::encode_string;
use serde::{Deserialize, Serialize};

use crate::secret::random_bytes;

/// Ties the pages, forms and cookies of one authorization together, so that two tabs do not disturb each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction([u8; 16]);

impl Transaction {
    /// No authorization: the page about what the browser remembers.
    pub const OF_THE_BROWSER: Self = Self([0; 16]);

    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// Eight hexadecimal digits that end the names of this transaction's cookies. They only tell cookies apart: whoever
    /// opens one compares the whole.
    pub fn suffix(&self) -> String {
        encode_string(&self.0[..4])
    }
}
