//! What goes wrong, chosen by the seed: which fault comes when, with which figures, and what may be answered meanwhile.

use std::fmt;
use std::time::Duration;

use crate::support::chance::Chance;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// R2: Redis takes so many milliseconds longer.
    RedisSlow(u64),
    /// R2: `CLIENT PAUSE`.
    RedisPaused(u64),
    /// R3: every connection to Redis is reset, once.
    RedisReset,
    /// R3: neither server can be reached for so many milliseconds.
    RedisAway(Away, u64),
    /// R4.
    PrimaryKilled(u64),
    PrimaryFrozen(u64),
    FailOver,
    /// R5: `FLUSHALL`.
    Flushed,
    /// R6: so many codes, each redeemed forty times at once; a replica may be killed meanwhile.
    Races {
        codes: usize,
        kill: bool,
    },
    /// R7: so many calls, and as many refreshes, of one session whose token is due.
    Herd(usize),
    /// R8: what Entra's token endpoint does for so many milliseconds.
    Entra(Answer, u64),
    /// R8: the net to Entra.
    EntraNet(Away, u64),
    /// R9: a key is published, signs, and the one before is withdrawn.
    KeysRolled,
    /// R10: one of the two MCP servers.
    ServerKilled(u64),
    ServerFrozen(u64),
    ServerReset,
    /// R11: the replicas that hold their own sockets.
    Rolling,
    /// R12: the next process serves at the held socket before the last one leaves.
    Upgrade,
    /// R13: one replica's clock, in seconds.
    Clock {
        replica: usize,
        seconds: i64,
    },
    /// R16: one replica may open 300 files, and this many clients come and stay.
    FewFiles {
        replica: usize,
        clients: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Away {
    Reset,
    Blackhole,
    /// The processes themselves stand still. Not for Entra's net.
    Frozen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    TooMany,
    Unavailable,
    Page,
    Hang,
    Closed,
    Slow,
    Truncated,
}

/// What may be answered while it lasts, and until it is mended.
pub struct Expected {
    /// To who stays.
    pub calls: &'static [u16],
    pub others: Others,
    pub sign_ins: &'static [u16],
    /// To guests: their calls, refreshes and departures.
    pub guests: &'static [u16],
    /// What was given out during it may be lost.
    pub loses: bool,
    /// Streams of these servers may break off.
    pub cuts: [bool; 2],
}

/// How many of the calls of who stays may be another than 200.
#[derive(Clone, Copy, Debug)]
pub enum Others {
    /// One in so many; and so many in any case, for of few calls one is more than its share.
    OneIn(u64, u64),
    /// Everybody is signed out.
    All,
}

/// How many faults there are before each has come once.
pub const ROUND: usize = 20;

impl Expected {
    /// Without a fault. Who is new may be told to come again on a busy machine.
    pub const WELL: Self = Self {
        calls: &[200],
        others: Others::OneIn(1000, 1),
        sign_ins: &[200, 503],
        guests: &[200, 503],
        loses: false,
        cuts: [false; 2],
    };
}

impl Others {
    pub fn allow(self, others: u64, all: u64) -> bool {
        match self {
            Self::OneIn(share, in_any_case) => others <= in_any_case || others * share <= all,
            Self::All => true,
        }
    }
}

impl Fault {
    /// The fault of step `number`: of the seed and the number alone, so that any step can be had by itself. Each kind comes once in
    /// a round; the order of a round is by chance, but for the first, which rolls keys: who meets an unknown key asks for
    /// the published ones, and then not again for five minutes.
    pub fn of_step(seed: u64, number: usize) -> Self {
        let (round, place) = (number / ROUND, number % ROUND);
        let mut order: Vec<usize> = (1..ROUND).collect();
        let mut chance = Chance::new(seed ^ (round as u64) << 32);
        for last in (1..order.len()).rev() {
            order.swap(last, chance.below(last as u64 + 1) as usize);
        }
        let kind = if place == 0 { 0 } else { order[place - 1] };
        Self::of_kind(kind, &mut Chance::new(seed ^ 0xFA17 ^ (number as u64) << 24))
    }

    fn of_kind(kind: usize, chance: &mut Chance) -> Self {
        let ways = [Away::Reset, Away::Blackhole, Away::Frozen];
        let answers = [
            Answer::TooMany,
            Answer::Unavailable,
            Answer::Page,
            Answer::Hang,
            Answer::Closed,
            Answer::Slow,
            Answer::Truncated,
        ];
        match kind {
            0 => Self::KeysRolled,
            1 => Self::RedisSlow(*chance.one_of(&[50, 100, 200, 300])),
            2 => Self::RedisPaused(300 + chance.below(500)),
            3 => Self::RedisReset,
            4 | 5 => Self::RedisAway(*chance.one_of(&ways), 1000 + chance.below(7000)),
            6 => Self::PrimaryKilled(3000 + chance.below(4000)),
            7 => Self::PrimaryFrozen(3000 + chance.below(4000)),
            8 => Self::FailOver,
            9 => Self::Flushed,
            10 => Self::Races { codes: 2 + chance.below(3) as usize, kill: chance.below(2) == 0 },
            11 => Self::Herd(60 + 60 * chance.below(3) as usize),
            12 | 13 => Self::Entra(*chance.one_of(&answers), 2000 + chance.below(6000)),
            14 => Self::EntraNet(*chance.one_of(&ways[..2]), 1000 + chance.below(5000)),
            15 => match chance.below(3) {
                0 => Self::ServerReset,
                1 => Self::ServerFrozen(1000 + chance.below(4000)),
                _ => Self::ServerKilled(1000 + chance.below(3000)),
            },
            16 => Self::Rolling,
            17 => Self::Upgrade,
            18 => Self::Clock { replica: chance.below(2) as usize, seconds: *chance.one_of(&[-110, -30, 30, 110]) },
            _ => Self::FewFiles { replica: chance.below(2) as usize, clients: 300 + chance.below(300) as usize },
        }
    }

    /// The row of the test plan that says what must hold.
    pub fn row(self) -> &'static str {
        match self {
            Self::RedisSlow(_) | Self::RedisPaused(_) => "R2",
            Self::RedisReset | Self::RedisAway(..) => "R3",
            Self::PrimaryKilled(_) | Self::PrimaryFrozen(_) | Self::FailOver => "R4",
            Self::Flushed => "R5",
            Self::Races { .. } => "R6",
            Self::Herd(_) => "R7",
            Self::Entra(..) | Self::EntraNet(..) => "R8",
            Self::KeysRolled => "R9",
            Self::ServerKilled(_) | Self::ServerFrozen(_) | Self::ServerReset => "R10",
            Self::Rolling => "R11",
            Self::Upgrade => "R12",
            Self::Clock { .. } => "R13",
            Self::FewFiles { .. } => "R16",
        }
    }

    /// With `failed_over` sentinels have promoted Redis' replica meanwhile, which any fault of Redis may bring about.
    pub fn expected(self, failed_over: bool) -> Expected {
        let well = Expected::WELL;
        // A known session is served, or told to come again; who is new is told so, or that the sign-in is over.
        let store = Expected { calls: &[200, 503], ..well };
        // Replication is behind by a moment, and who was primary may take writes until sentinels tell it otherwise: what was
        // acknowledged within the fault may be lost, and nothing else.
        let failover = Expected { sign_ins: &[200, 400, 503], guests: &[200, 400, 401, 503], loses: true, ..store };
        match self {
            Self::PrimaryKilled(_) | Self::PrimaryFrozen(_) | Self::FailOver => failover,
            Self::RedisSlow(_) | Self::RedisPaused(_) | Self::RedisReset | Self::RedisAway(..) if failed_over => {
                failover
            }
            Self::RedisSlow(_) | Self::RedisPaused(_) | Self::RedisReset | Self::RedisAway(..) => store,
            Self::Flushed => Expected {
                calls: &[200, 401],
                others: Others::All,
                sign_ins: &[200, 400, 503],
                guests: &[200, 400, 401, 503],
                loses: true,
                cuts: [false; 2],
            },
            // Connections to a process that is killed are lost, and its streams: what was under way, and a probe's time of new ones.
            Self::Races { kill: true, .. } => Expected {
                calls: &[0, 200],
                others: Others::OneIn(10, 15),
                sign_ins: &[0, 200, 400, 503],
                guests: &[0, 200, 503],
                cuts: [true; 2],
                ..well
            },
            Self::Races { .. } | Self::Herd(_) | Self::Rolling | Self::Upgrade => well,
            // The client is told `server_error` where an answer makes no sense, and a browser's own way to Entra may be cut.
            Self::Entra(..) => Expected { sign_ins: &[200, 303, 503], ..well },
            Self::EntraNet(..) => Expected { sign_ins: &[0, 200, 303, 503], ..well },
            // Whoever finds out that the proof was signed by a key that is withdrawn.
            Self::KeysRolled => Expected { sign_ins: &[200, 303, 503], ..well },
            Self::ServerKilled(_) | Self::ServerFrozen(_) | Self::ServerReset => Expected {
                calls: &[200, 502, 503, 504],
                others: Others::OneIn(10, 15),
                guests: &[200, 502, 503, 504],
                cuts: [true, false],
                ..well
            },
            // A code that lives for a minute is over at once where the clock is ahead of who gave it.
            Self::Clock { .. } => Expected { sign_ins: &[200, 400, 503], ..well },
            // Its new connections are closed while there is no file for them: a third are its, a part of the time.
            Self::FewFiles { .. } => Expected {
                calls: &[0, 200],
                others: Others::OneIn(5, 15),
                sign_ins: &[0, 200, 503],
                guests: &[0, 200, 503],
                ..well
            },
        }
    }

    /// How soon sign-ins must work at every replica when it is over.
    pub fn recovery(self) -> Duration {
        Duration::from_secs(match self {
            // The answers that were asked for before are waited for, ten seconds at most.
            Self::Entra(..) | Self::EntraNet(..) => 20,
            Self::PrimaryKilled(_) | Self::PrimaryFrozen(_) | Self::FailOver | Self::RedisAway(..) => 10,
            _ => 5,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RedisSlow(ms) => write!(formatter, "Redis slower by {ms} ms"),
            Self::RedisPaused(ms) => write!(formatter, "CLIENT PAUSE {ms} ms"),
            Self::RedisReset => write!(formatter, "connections to Redis reset"),
            Self::RedisAway(away, ms) => write!(formatter, "both servers of Redis away ({away:?}) for {ms} ms"),
            Self::PrimaryKilled(ms) => write!(formatter, "primary killed, back after {ms} ms"),
            Self::PrimaryFrozen(ms) => write!(formatter, "primary frozen for {ms} ms"),
            Self::FailOver => write!(formatter, "SENTINEL FAILOVER"),
            Self::Flushed => write!(formatter, "FLUSHALL"),
            Self::Races { codes, kill: false } => write!(formatter, "{codes} codes redeemed 40 times each"),
            Self::Races { codes, kill: true } => {
                write!(formatter, "{codes} codes redeemed 40 times each, a replica killed")
            }
            Self::Herd(calls) => write!(formatter, "{calls} calls and {calls} refreshes of one session that is due"),
            Self::Entra(answer, ms) => write!(formatter, "Entra's token endpoint: {answer:?} for {ms} ms"),
            Self::EntraNet(away, ms) => write!(formatter, "the net to Entra: {away:?} for {ms} ms"),
            Self::KeysRolled => write!(formatter, "Entra's signing keys rolled"),
            Self::ServerKilled(ms) => write!(formatter, "MCP server killed, back after {ms} ms"),
            Self::ServerFrozen(ms) => write!(formatter, "MCP server frozen for {ms} ms"),
            Self::ServerReset => write!(formatter, "connections to an MCP server reset"),
            Self::Rolling => write!(formatter, "rolling restart, SIGTERM"),
            Self::Upgrade => write!(formatter, "upgrade over a held socket"),
            Self::Clock { replica, seconds } => write!(formatter, "clock of replica {replica} {seconds:+} s"),
            Self::FewFiles { replica, clients } => {
                write!(formatter, "replica {replica}: 300 files, {clients} clients")
            }
        }
    }
}
