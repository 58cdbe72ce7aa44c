//! Whether a call costs the same however many calls, connections, sessions, clients and routes there are.

use std::sync::Arc;
use std::time::Duration;

use super::Sizes;
use super::comparison::{Comparison, compare};
use super::contestant::Contestant;
use super::sallyport::{Installation, Replica};
use super::stage::{Serving, Stage};
use crate::work::Work;

/// # Errors
/// When a replica does not come up or is gone, or sessions cannot be made.
pub async fn measure(
    stage: &mut Stage,
    installation: &Installation,
    upstream: &Serving,
    sizes: &Sizes,
) -> anyhow::Result<Vec<Comparison>> {
    let few = Arc::new(installation.calls(FEW, 0.0)?);
    let one = installation.replica(stage, upstream.address, Replica::warm()).await?;
    let on_one = |name: usize, work: &Arc<Work>| at(installation, &one, name, work);
    let mut sweeps = Vec::new();

    let mut points = Vec::new();
    for requests in CALLS.map(|part| sizes.most_calls / part) {
        points.push(on_one(requests, &few)?.with_requests(requests as u64));
    }
    // A window ends by the number, not by the time.
    sweeps.push(compare("calls in a window", &mut points, &Sizes { window: LONG, ..*sizes }).await?);

    // What a bare Pingora has to say to more connections is not ours to mend.
    let bare = stage.pass_through("bare-pingora", upstream.address, &[]).await?;
    for (of, serving) in [("connections", &one), ("connections, bare Pingora", &bare)] {
        let mut points = Vec::new();
        for connections in CONNECTIONS {
            points.push(at(installation, serving, connections, &few)?.with_callers(connections));
        }
        sweeps.push(compare(of, &mut points, sizes).await?);
    }

    let mut points = Vec::new();
    for clients in CLIENTS {
        let sessions = installation.begin_more(stage, FEW, Some(clients), false).await?;
        points.push(on_one(clients, &Arc::new(installation.calls_of(&sessions, 0.0)?))?);
    }
    sweeps.push(compare("clients", &mut points, sizes).await?);
    drop(points);

    sweeps.push(sessions(stage, installation, upstream, sizes).await?);

    let mut points = Vec::new();
    let mut servings = Vec::new();
    for routes in ROUTES {
        let replica = Replica { routes, ..Replica::warm() };
        let serving = installation.replica(stage, upstream.address, replica).await?;
        points.push(at(installation, &serving, routes, &few)?);
        servings.push(serving);
    }
    sweeps.push(compare("routes", &mut points, sizes).await?);
    Ok(sweeps)
}

/// Chosen by Zipf's law, in one replica that has all of them at hand.
async fn sessions(
    stage: &mut Stage,
    installation: &Installation,
    upstream: &Serving,
    sizes: &Sizes,
) -> anyhow::Result<Comparison> {
    let all = installation.begin_more(stage, sizes.many_sessions, None, false).await?;
    // An entry of the cache has its place by its hash: with less room than this, some would be pushed out.
    let replica = Replica { cached: all.len() * 2, ..Replica::default() };
    let serving = installation.replica(stage, upstream.address, replica).await?;
    let mut points = Vec::new();
    for sessions in (2..).map(|power| 10_usize.pow(power)).take_while(|sessions| *sessions <= all.len()) {
        let work = Arc::new(installation.calls_of(&all[..sessions], ZIPF)?);
        points.push(at(installation, &serving, sessions, &work)?);
    }
    // Everybody calls once or more, since an entry that was not looked up for half a minute is no warm one.
    let warm_up = Arc::new(installation.calls_of(&all, 0.0)?);
    let mut warm_up = at(installation, &serving, all.len(), &warm_up)?.with_requests(all.len() as u64 * 3);
    warm_up.window(LONG).await?;
    compare("sessions (Zipf)", &mut points, sizes).await
}

fn at(installation: &Installation, serving: &Serving, name: usize, work: &Arc<Work>) -> anyhow::Result<Contestant> {
    let target = installation.target.clone().served_at(serving.address)?;
    let contestant = Contestant::shared(name.to_string(), "", target, work.clone(), serving.program.pid());
    Ok(contestant.with_redis(installation.redis.address))
}

/// Parts of the most.
const CALLS: [usize; 5] = [16, 8, 4, 2, 1];
const CONNECTIONS: [usize; 4] = [8, 32, 128, 512];
const CLIENTS: [usize; 2] = [1, 100];
const ROUTES: [usize; 3] = [1, 10, 100];
/// Sessions, where their number is not what differs.
const FEW: usize = 100;
const ZIPF: f64 = 1.0;
/// What ends by a number of requests may take so long.
const LONG: Duration = Duration::from_secs(20);
