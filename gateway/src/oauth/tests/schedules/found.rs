//! What schedules have found, one step after the other.

use tokio::task::yield_now;

use super::desk::{Desk, Fate};
use super::play::USERS;
use super::replicas::{revoke, sign_in};
use super::world::Answer;

/// Lets these questions of a replica be answered, in this order.
async fn answered(desk: &Desk, replica: usize, calls: &[&str]) {
    for call in calls {
        yield_now().await;
        let place = desk.place_of(replica, call).unwrap_or_else(|| panic!("nobody at {replica} waits for {call}"));
        desk.let_go_on(place, Fate::Done);
    }
    yield_now().await;
}

/// An operator was told of a session whose user is unknown, and it was let live: its name was in the set already, its listing was
/// not there yet when it was read, and its record was a moment later.
#[test]
fn a_session_that_begins_while_its_user_is_revoked_is_not_taken_for_an_unknown_one() {
    let mut installation = super::installation();
    let replicas = installation.replicas(None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let desk = &replicas.desk;
        desk.open(false);
        let (server, request) = (replicas.servers[1].clone(), replicas.request.clone());
        let begins = tokio::spawn(async move { sign_in(&server, &request, USERS[0], "entra", 86_400).await });
        answered(desk, 1, &["enlist", "enlist"]).await;
        let server = replicas.servers[0].clone();
        let ends = tokio::spawn(async move { revoke(&server, USERS[0]).await });
        answered(desk, 0, &["enlisted", "get"]).await;
        answered(desk, 1, &["put", "start_counter", "put"]).await;
        desk.open(true);
        assert_eq!(ends.await.unwrap(), Ok((Answer::Done, 1)));
        assert_eq!(begins.await.unwrap(), None, "it finds that it was ended while it began");
    });
}
