//! Latency at one rate for everybody: half of what bare Pingora answers at most. What a contestant adds to it is the middle of
//! pairs, each a window of its own and one of bare Pingora's right before or after it.

use serde::Serialize;

use super::super::Sizes;
use super::super::contestant::{AtRate, Contestant};
use super::super::statistics::Spread;
use super::Closed;
use crate::answers::{Latencies, latencies, quantile};
use crate::open_loop::Offered;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FixedRate {
    Kept(Open),
    /// It cannot be asked so often. In a closed loop it answered so many in a second.
    NotKept {
        per_second: f64,
        most: f64,
    },
    /// Why there are no latencies. What it cost at saturation was measured before, and stands.
    Void(Vec<String>),
}

/// Latencies in microseconds, from when a request was due.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Open {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// How late the generator was by itself; the latencies include it.
    pub lag_p99: f64,
    /// Of the pairs; bare Pingora itself has none, and nobody if fewer than half of them came about.
    pub p99_added: Option<Spread>,
}

/// What one contestant's windows gave.
struct Heard {
    all: Latencies,
    lag: Latencies,
    added: Vec<f64>,
}

pub async fn measure(
    contestants: &mut [Contestant],
    closed: &[Option<Closed>],
    bare: usize,
    sizes: &Sizes,
) -> Vec<Option<FixedRate>> {
    let mut rows: Vec<_> = contestants.iter().map(|_| None).collect();
    let Some(most_of_bare) = most(closed, bare) else { return rows };
    // To a round number, so that it can be asked for again.
    let rate = (most_of_bare / 20.0).round().max(1.0) * 10.0;
    for (which, row) in rows.iter_mut().enumerate() {
        *row =
            most(closed, which).filter(|most| *most <= rate).map(|most| FixedRate::NotKept { per_second: rate, most });
    }
    let mut heard: Vec<_> = contestants.iter().map(|_| Heard::nothing()).collect();
    for round in 0..sizes.rate_rounds {
        for which in (0..contestants.len()).filter(|which| *which != bare) {
            if rows[which].is_some() || closed[which].is_none() {
                continue;
            }
            // By turns the first of the pair.
            let order = if round % 2 == 0 { [bare, which] } else { [which, bare] };
            let mut p99 = [None; 2];
            for (place, one) in order.into_iter().enumerate() {
                if rows[one].is_some() {
                    continue;
                }
                match contestants[one].at_rate(rate, sizes.rate_window).await {
                    AtRate::Kept(offered) => p99[place] = Some(heard[one].hear(&offered)),
                    AtRate::NotKept => match most(closed, one) {
                        Some(most) if most < rate * ROOM => {
                            rows[one] = Some(FixedRate::NotKept { per_second: rate, most });
                        }
                        // It was disturbed.
                        _ => {
                            let void = vec![format!("{rate:.0} in a second were not kept")];
                            rows[one] = Some(FixedRate::Void(void));
                        }
                    },
                    AtRate::Void(why) => rows[one] = Some(FixedRate::Void(why)),
                }
            }
            if let (Some(first), Some(second)) = (p99[0], p99[1]) {
                heard[which].added.push(if order[0] == bare { second - first } else { first - second });
            }
        }
    }
    for (row, heard) in rows.iter_mut().zip(&heard) {
        if row.is_none() {
            *row = heard.open(rate, sizes.rate_rounds).map(FixedRate::Kept);
        }
    }
    rows
}

fn most(closed: &[Option<Closed>], which: usize) -> Option<f64> {
    closed[which].map(|closed| closed.per_second.median)
}

impl Heard {
    fn nothing() -> Self {
        Self { all: latencies(), lag: latencies(), added: Vec::new() }
    }

    /// Its p99 in microseconds.
    fn hear(&mut self, offered: &Offered) -> f64 {
        self.all += &offered.gathered.latencies;
        self.lag += &offered.gathered.lag;
        micros(&offered.gathered.latencies, 0.99)
    }

    fn open(&self, per_second: f64, rounds: usize) -> Option<Open> {
        (!self.all.is_empty()).then(|| Open {
            per_second,
            p50: micros(&self.all, 0.5),
            p99: micros(&self.all, 0.99),
            p999: micros(&self.all, 0.999),
            lag_p99: micros(&self.lag, 0.99),
            p99_added: Spread::of(self.added.iter().copied()).filter(|_| self.added.len() * 2 >= rounds),
        })
    }
}

/// Who answers so many times the rate in a closed loop could have kept it.
const ROOM: f64 = 1.25;

fn micros(latencies: &Latencies, share: f64) -> f64 {
    quantile(latencies, share).as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::target::Target;
    use crate::work::{Expected, Work};

    fn contestant(name: &str) -> Contestant {
        let target: Target = "http://127.0.0.1:9/mcp".parse().unwrap();
        let work = Arc::new(Work::tools_list(&target, Expected::RESULT));
        Contestant::shared(name, "", target, work, std::process::id())
    }

    fn answers(per_second: f64) -> Option<Closed> {
        let spread = Spread::of([per_second])?;
        Some(Closed {
            answers: 1,
            per_second: spread,
            cpu_us: spread,
            cpu_to_bare: None,
            busy: 1.0,
            store_reads_each: None,
        })
    }

    #[tokio::test]
    async fn who_answers_less_than_half_of_what_bare_does_is_named_and_not_asked() {
        let mut contestants = ["bare", "slow", "void", "quick"].map(contestant);
        contestants[2].void.push("an answer was none".to_owned());
        let closed = [answers(1000.0), answers(450.0), None, answers(900.0)];
        // Nobody is asked, so nothing but that is known.
        let sizes = Sizes { rate_rounds: 0, ..Sizes::SMOKE };
        let rows = measure(&mut contestants, &closed, 0, &sizes).await;
        assert!(matches!(rows[1], Some(FixedRate::NotKept { per_second: 500.0, most: 450.0 })));
        assert!([0, 2, 3].iter().all(|which| rows[*which].is_none()));
        let of_nothing = measure(&mut contestants, &[None, None, None, answers(900.0)], 0, &sizes).await;
        assert!(of_nothing.iter().all(Option::is_none), "half of what is not known");
    }

    #[test]
    fn what_was_heard_is_added_up() {
        let mut heard = Heard::nothing();
        assert!(heard.open(10.0, 3).is_none());
        heard.added = vec![-5.0, 200.0, 10.0];
        crate::answers::record(&mut heard.all, std::time::Duration::from_micros(100));
        assert_eq!(heard.open(10.0, 6).unwrap().p99_added.unwrap().median, 10.0);
        assert!(heard.open(10.0, 7).unwrap().p99_added.is_none(), "too few pairs");
    }
}
