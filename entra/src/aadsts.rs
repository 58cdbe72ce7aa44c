//! The numbers of Entra's errors (entra.md 5.1 to 5.7). They are for logs and metrics; of the decisions, only two are made by
//! them: whether another proof may help, and whether Entra is refusing everybody.

/// The first number of an error, for a metric: one that is known, or that it is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Nothing went wrong, or whoever says so is not Entra.
    None,
    /// One of [`KNOWN`].
    Known(u32),
    /// Not one that has been met so far.
    Other,
}

impl Code {
    pub(crate) fn first_of(codes: &[u32]) -> Self {
        match codes.first() {
            None => Self::None,
            Some(code) if KNOWN.contains(code) => Self::Known(*code),
            Some(_) => Self::Other,
        }
    }
}

/// What has been met or documented. Entra has thousands more; those are told apart in the log.
pub const KNOWN: &[u32] = &[
    // The request.
    28000, 28003, 50011, 70011, 90002, 90009, 90014, 500011, 500207, 650053, 650057, 700016, 700022, 901002, 1002012,
    9002326, 9002327, 9010010, // A code, a refresh token, an assertion of a user's.
    50013, 50173, 54005, 70000, 70008, 70043, 240002, 500131, 500133, 501481, 700082, 700084, 7000114,
    // What the user or a policy has to say.
    50034, 50053, 50055, 50057, 50058, 50076, 50079, 50105, 53000, 53001, 53003, 65001, 65004,
    // How the client proves who it is.
    70021, 90061, 700024, 700027, 700211, 700212, 700213, 700214, 700222, 700226, 700227, 700229, 700231, 700236,
    1000502, 7000112, 7000214, 7000215, 7000218, 7000222, 7000274, 7000277, 7002121, // Too much of it.
    50196, 90055,
];

/// A proof was refused for something that reading it anew may mend.
pub(crate) const RELOAD: [u32; 6] = [700_027, 700_024, 7_000_214, 1_000_502, 7_000_274, 7_000_277];
/// Throttling of a tenant, and the "client request loop" answer: both end by waiting, whatever `error` they come with.
pub(crate) const TOO_MANY: [u32; 2] = [90_055, LOOP];
/// One user's calls are too many.
pub(crate) const LOOP: u32 = 50_196;
/// There is no such application in the tenant.
pub(crate) const UNKNOWN_CLIENT: u32 = 700_016;
