//! Counters of generations.

use super::*;

pub(super) async fn a_counter_moves_for_who_knows_where_it_stands(Subject { store, .. }: Subject) {
    let advance = async |presented| store.advance(NAME, step(presented, 100)).await.unwrap();
    assert_eq!(advance(0).await, Advance::Missing);
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert_eq!(advance(1).await, Advance::Missing, "nobody was ever told that");
    assert_eq!(advance(u32::MAX).await, Advance::Missing);
    for presented in 0..12 {
        assert_eq!(advance(presented).await, Advance::Rotated(presented + 1));
    }
    assert_eq!(advance(10).await, Advance::Reused, "its successor was used");
    assert_eq!(advance(0).await, Advance::Reused);
    assert_eq!(advance(12).await, Advance::Rotated(13), "no refusal moves it");
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert_eq!(advance(0).await, Advance::Rotated(1));
    store.remove(NAME).await.unwrap();
    assert_eq!(advance(1).await, Advance::Missing);
}

pub(super) async fn a_repetition_is_one_within_the_grace_and_a_reuse_after(Subject { store, .. }: Subject) {
    let advance = async |presented, now| store.advance(NAME, step(presented, now)).await.unwrap();
    store.start_counter(NAME, at(NOW), MINUTE).await.unwrap();
    assert_eq!(advance(0, NOW).await, Advance::Rotated(1));
    for now in [NOW, NOW + 1, NOW + 45, NOW - 7] {
        assert_eq!(advance(0, now).await, Advance::Repeated(1), "{now}: another replica's clock may be behind");
    }
    assert_eq!(advance(0, NOW + 46).await, Advance::Reused);
    assert_eq!(advance(1, NOW + 46).await, Advance::Rotated(2));
    assert_eq!(advance(1, NOW + 91).await, Advance::Repeated(2), "the grace is counted from the last move");
    assert_eq!(advance(1, NOW + 92).await, Advance::Reused);
}

pub(super) async fn of_many_who_advance_one_moves_and_all_learn_where_to(Subject { store, .. }: Subject) {
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    let advanced = at_once(|| {
        let store = store.clone();
        async move { store.advance(NAME, step(0, 100)).await.unwrap() }
    });
    let advanced = advanced.await;
    assert_eq!(advanced.iter().filter(|advance| **advance == Advance::Rotated(1)).count(), 1);
    assert_eq!(advanced.iter().filter(|advance| **advance == Advance::Repeated(1)).count(), CALLERS - 1);
}

pub(super) async fn a_counter_lives_from_its_last_move(subject: Subject) {
    let store = &subject.store;
    let brief = |presented| Step { lifetime: Duration::ZERO, ..step(presented, 100) };
    store.start_counter(NAME, at(100), SECOND).await.unwrap();
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Rotated(1));
    subject.second_passes().await;
    assert_eq!(store.advance(NAME, brief(1)).await.unwrap(), Advance::Rotated(2));
    assert_eq!(store.advance(NAME, brief(1)).await.unwrap(), Advance::Repeated(2), "a second at least");
    subject.second_passes().await;
    assert_eq!(store.advance(NAME, step(2, 100)).await.unwrap(), Advance::Missing);
}

pub(super) async fn a_counter_is_invisible_to_everybody_else(subject: Subject) {
    let store = &subject.store;
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap(), None);
    assert_eq!(store.take(NAME).await.unwrap(), None);
    assert!(!store.remove_if(NAME, b"0:100").await.unwrap());
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Rotated(1));
    // And what a caller stores never passes for a counter.
    store.put(NAME, b"C0:100", MINUTE).await.unwrap();
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Missing);
    subject.put_guarded(MINUTE).await;
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Missing);
}
