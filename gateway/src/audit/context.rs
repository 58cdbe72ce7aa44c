//! Which request it was.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Request};

/// What ties a line to those of the other logs. Empty where there was no request.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// As the access log has it.
    pub request_id: Option<Box<str>>,
    pub trace_id: Option<TraceId>,
    /// Of the client, as far as it is known.
    pub address: Option<IpAddr>,
}

/// W3C Trace Context: what all hops of one request have in common. It is the caller's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl Context {
    /// What the edge has put among the request's extensions.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }
}

impl TraceId {
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
        if !well || !whole || version == "ff" || parent.bytes().all(|byte| byte == b'0') {
            return None;
        }
        let id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        Some(Self(id.to_be_bytes()))
    }

    pub fn to_text(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        TraceId::of(&headers).map(TraceId::to_text)
    }

    #[test]
    fn only_a_well_formed_trace_parent_counts() {
        let good = format!("00-{ID}-b7ad6b7169203331-01");
        assert_eq!(of(&[&good]).as_deref(), Some(ID));
        assert_eq!(of(&[&format!("01-{ID}-b7ad6b7169203331-01-more")]).as_deref(), Some(ID));
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
            assert_eq!(of(&[&bad]), None, "{bad}");
        }
        assert_eq!(of(&[&good, &good]), None);
    }
}
