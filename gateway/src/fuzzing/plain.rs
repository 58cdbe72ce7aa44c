//! What lies behind the seal. No stranger gets there; but what is read there should not depend on that alone.

use std::fmt;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SEALER;
use crate::sealed::{OpenError, Purpose};

/// Bytes that are sealed as they are: what is opened is then read from just these.
pub struct Plain<'a>(pub &'a [u8]);

impl Serialize for Plain<'_> {
    /// As a tuple, which has no length before it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

/// Whatever was sealed: it opens wherever the seal is good.
pub struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(usize::MAX, Self)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("bytes")
    }

    /// To their end, which is an error to the deserializer.
    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Self, A::Error> {
        while let Ok(Some(0..=u8::MAX)) = bytes.next_element() {}
        Ok(self)
    }
}

/// What is read from `plain` as a `T`, if anything is, means the same when it is sealed anew.
pub fn reopens<T: Serialize + DeserializeOwned>(purpose: Purpose, plain: &[u8]) {
    let context: &[&[u8]] = &[b"context"];
    let sealed = SEALER.seal(purpose, context, &Plain(plain));
    let value = match SEALER.open::<T>(purpose, context, &sealed) {
        Ok(value) => value,
        Err(error) => return assert_eq!(error, OpenError::Malformed, "the seal is good"),
    };
    let again: T = SEALER.open(purpose, context, &SEALER.seal(purpose, context, &value)).expect("it was sealed");
    let bytes = |value: &T| postcard::to_stdvec(value).expect("it was sealed");
    assert_eq!(bytes(&value), bytes(&again));
}
