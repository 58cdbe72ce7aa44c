//! What Redis is asked for in each step of a sign-in: one after the other, while somebody listens to Redis.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::redis::{Heard, Monitor};
use crate::sign_in::{Course, Step, one_by_one};
use crate::target::Target;

/// One step, in the mean of the sign-ins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepFigures {
    pub step: &'static str,
    /// Commands that were sent; each is a part of at most one round trip.
    pub sent: f64,
    /// Those that scripts gave, by no round trip.
    pub by_scripts: f64,
    /// Names of those sent, with how many of each.
    pub commands: Vec<(String, f64)>,
}

/// # Errors
/// When a sign-in fails, or nobody may listen to Redis.
pub async fn measure(target: &Target, user: &str, redis: SocketAddr) -> anyhow::Result<Vec<StepFigures>> {
    let monitor = Monitor::listen(redis).await?;
    let courses = one_by_one(target, user, SIGN_INS, PATIENCE).await;
    let heard = monitor.stop(redis).await?;
    Ok(by_steps(&courses?, &heard))
}

/// What was heard after a step and before the next one belongs to the former: it was done in its background.
fn by_steps(courses: &[Course], heard: &[Heard]) -> Vec<StepFigures> {
    let mut begins: Vec<_> =
        courses.iter().flat_map(|course| course.parts()).map(|part| (part.begun, part.step)).collect();
    begins.sort_by_key(|(begun, _)| *begun);
    let step_at = |at: Duration| {
        let next = begins.partition_point(|(begun, _)| *begun <= at);
        Some(begins[next.checked_sub(1)?].1)
    };
    let each = |count: usize| count as f64 / courses.len() as f64;
    let of = |step: Step| {
        let of_it: Vec<_> = heard.iter().filter(|command| step_at(command.at) == Some(step)).collect();
        let mut names = BTreeMap::<_, usize>::new();
        for command in of_it.iter().filter(|command| !command.by_script) {
            *names.entry(&command.name).or_default() += 1;
        }
        StepFigures {
            step: step.name(),
            sent: each(names.values().sum()),
            by_scripts: each(of_it.iter().filter(|command| command.by_script).count()),
            commands: names.into_iter().map(|(name, count)| (name.clone(), each(count))).collect(),
        }
    };
    Step::ALL.map(of).into()
}

const SIGN_INS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign_in::Part;

    #[test]
    fn a_command_belongs_to_the_step_that_began_last() {
        let part = |step, begun| Part { step, begun: Duration::from_secs(begun), took: Duration::from_millis(100) };
        let course = Course::of([part(Step::Register, 10), part(Step::Authorize, 11), part(Step::Token, 12)]);
        let heard =
            |at, name: &str, by_script| Heard { at: Duration::from_secs_f64(at), name: name.to_owned(), by_script };
        let heard = [
            heard(9.0, "PING", false),
            heard(10.05, "GET", false),
            heard(12.01, "EVALSHA", false),
            heard(12.01, "GET", true),
            heard(12.5, "PUBLISH", false),
        ];
        let steps = by_steps(&[course], &heard);
        let step = |name| steps.iter().find(|figures| figures.step == name).unwrap();
        assert_eq!(step("register").commands, [("GET".to_owned(), 1.0)]);
        assert_eq!(step("authorize").sent, 0.0);
        let token = step("token");
        assert_eq!((token.sent, token.by_scripts), (2.0, 1.0));
    }
}
