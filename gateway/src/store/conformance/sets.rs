//! Sets whose members end.

use super::*;

/// All that have not ended then.
async fn members(store: &dyn Store, now: u64) -> Vec<Vec<u8>> {
    store.enlisted(NAME, Page { now: at(now), skip: 0, size: 100 }).await.unwrap()
}

pub(super) async fn a_set_has_its_members_until_their_ends_by_the_callers_clock(Subject { store, .. }: Subject) {
    let now = NOW;
    assert!(members(&*store, now).await.is_empty());
    store.enlist(NAME, &VALUE, at(now + 10), at(now)).await.unwrap();
    store.enlist(NAME, b"", at(now + 20), at(now)).await.unwrap();
    store.enlist(NAME, b"late", at(now), at(now)).await.unwrap();
    assert_eq!(members(&*store, now).await, [&VALUE[..], b""]);
    assert_eq!(members(&*store, now + 9).await.len(), 2);
    assert_eq!(members(&*store, now + 10).await, [b""], "its end is not a part of its life");
    store.enlist(NAME, b"new", at(now + 99), at(now + 10)).await.unwrap();
    assert_eq!(members(&*store, now).await, [&b""[..], b"new"], "what has ended is swept");
    store.strike(NAME, b"").await.unwrap();
    store.strike(NAME, b"nobody").await.expect("striking nothing is no failure");
    assert_eq!(members(&*store, now).await, [b"new"]);
}

pub(super) async fn a_set_is_read_page_by_page_in_the_order_of_ends(Subject { store, .. }: Subject) {
    // Some end together.
    for number in (0..25_u8).rev() {
        store.enlist(NAME, &[number], at(NOW + 10 + u64::from(number / 10)), at(NOW)).await.unwrap();
    }
    let (mut read, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = store.enlisted(NAME, Page { now: at(NOW), skip: read.len(), size: 10 }).await.unwrap();
        pages.push(page.len());
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(pages, [10, 10, 5, 0]);
    assert_eq!(read, (0..25_u8).map(|number| vec![number]).collect::<Vec<_>>());
}

pub(super) async fn a_member_whose_end_is_moved_is_in_the_set_once(Subject { store, .. }: Subject) {
    store.enlist(NAME, b"it", at(NOW + 10), at(NOW)).await.unwrap();
    store.enlist(NAME, b"it", at(NOW + 99), at(NOW)).await.unwrap();
    assert_eq!(members(&*store, NOW).await, [b"it"]);
    assert_eq!(members(&*store, NOW + 10).await, [b"it"]);
    store.enlist(NAME, b"it", at(NOW), at(NOW)).await.unwrap();
    assert!(members(&*store, NOW).await.is_empty());
}

pub(super) async fn of_many_who_enlist_at_once_all_are_in_the_set(Subject { store, .. }: Subject) {
    let enlisted = at_once(|| {
        let store = store.clone();
        async move { store.enlist(NAME, &random_bytes::<32>(), at(NOW + 60), at(NOW)).await.unwrap() }
    });
    enlisted.await;
    assert_eq!(members(&*store, NOW).await.len(), CALLERS);
}

pub(super) async fn a_set_is_gone_with_its_last_member(subject: Subject) {
    let store = &subject.store;
    // Of memory this is its own time, which the set's end is told by.
    let now = subject.clock.as_ref().map_or(NOW, |clock| clock.now().unix());
    store.enlist(NAME, b"first", at(now + 60), at(now)).await.unwrap();
    store.enlist(NAME, b"first", at(now + 1), at(now)).await.unwrap();
    assert!(store.holds(NAME).await.unwrap());
    subject.second_passes().await;
    assert!(!store.holds(NAME).await.unwrap(), "nobody need come to sweep it");
}
