//! W3C Trace Context: what all hops of one request have in common. What a caller says of it is the caller's word.

use http::{HeaderMap, HeaderName, HeaderValue};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Belongs to the trace of the `traceparent` beside it, and to no other.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// The span of a caller, in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: TraceId,
    /// Never zero.
    pub span: u64,
    /// Whether the caller keeps its part of the trace.
    pub sampled: bool,
}

impl TraceId {
    /// Zero, which names no trace, becomes one.
    pub fn new(id: u128) -> Self {
        Self(id.max(1))
    }

    /// Of the one `traceparent` there is, if that is well-formed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        TraceParent::of(headers).map(|parent| parent.trace)
    }

    pub fn to_number(self) -> u128 {
        self.0
    }

    pub fn to_text(self) -> String {
        format!("{:032x}", self.0)
    }
}

impl TraceParent {
    /// Of the one `traceparent` there is; one that is not well-formed counts as none (section 3.2.2).
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let text = value.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let well = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        // Later versions may say more behind it.
        let whole = version != "00" || parts.next().is_none();
        if !well || !whole || version == "ff" {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace: TraceId(trace), span, sampled: flags & SAMPLED != 0 })
    }

    /// What a hop of ours says to the next one.
    pub fn to_header(self) -> HeaderValue {
        let flags = if self.sampled { SAMPLED } else { 0 };
        let text = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace.0, self.span);
        text.try_into().expect("digits and hyphens are a header's value")
    }
}

const SAMPLED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn of(values: &[&str]) -> Option<TraceParent> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        TraceParent::of(&headers)
    }

    #[test]
    fn only_a_well_formed_trace_parent_counts() {
        let good = format!("00-{ID}-b7ad6b7169203331-01");
        let id = |values: &[&str]| of(values).map(|parent| parent.trace.to_text());
        assert_eq!(id(&[&good]).as_deref(), Some(ID));
        assert_eq!(id(&[&format!("01-{ID}-b7ad6b7169203331-01-more")]).as_deref(), Some(ID));
        for bad in [
            String::new(),
            format!("ff-{ID}-b7ad6b7169203331-01"),
            format!("00-{ID}-b7ad6b7169203331-01-more"),
            format!("00-{}-b7ad6b7169203331-01", ID.to_uppercase()),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{ID}-b7ad6b716920333-01"),
            format!("00-+{}-b7ad6b7169203331-01", &ID[1..]),
        ] {
            assert_eq!(id(&[&bad]), None, "{bad}");
        }
        assert_eq!(id(&[&good, &good]), None);
    }

    #[test]
    fn what_is_written_reads_as_what_it_was() {
        for flags in ["00", "01"] {
            let text = format!("00-{ID}-00ad6b7169203331-{flags}");
            assert_eq!(of(&[&text]).unwrap().to_header(), text);
        }
        // Of flags that nobody here knows, none is passed on (section 3.2.2.5).
        let unknown = of(&[&format!("00-{ID}-00ad6b7169203331-fe")]).unwrap();
        assert_eq!(unknown.to_header(), format!("00-{ID}-00ad6b7169203331-00"));
    }
}
