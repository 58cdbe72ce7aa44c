//! What is redeemed once.

use super::*;

pub(super) async fn a_guarded_value_is_redeemed_once_and_leaves_its_epitaph(subject: Subject) {
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Spent(EPITAPH));
    assert_eq!(
        subject.redeem(WRONG).await,
        Redemption::Spent(EPITAPH),
        "a stolen code ends what it gave, guard or not"
    );
}

pub(super) async fn of_many_redeemers_one_wins(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    let store = subject.store.clone();
    let redeemed = at_once(|| {
        let store = store.clone();
        async move {
            let claim = claim(RIGHT);
            let found = store.redeem(NAME, &claim).await.unwrap();
            (found != Redemption::Claimed && store.settle(NAME, &claim).await.unwrap(), found)
        }
    });
    let redeemed = redeemed.await;
    let won = |(settled, found): &&(bool, Redemption)| *settled && *found == Redemption::Value(VALUE.to_vec());
    let lost = |(settled, found): &&(bool, Redemption)| {
        !settled && matches!(found, Redemption::Claimed | Redemption::Spent(EPITAPH))
    };
    assert_eq!((redeemed.iter().filter(won).count(), redeemed.iter().filter(lost).count()), (1, CALLERS - 1));
}

pub(super) async fn a_wrong_guess_burns_nothing(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    let mut nearly = RIGHT;
    nearly[31] ^= 1;
    for guess in [WRONG, nearly, EPITAPH, [0; 32]] {
        assert_eq!(subject.redeem(guess).await, Redemption::Mismatch);
    }
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
}

pub(super) async fn a_claim_that_is_asked_for_again_is_the_same_and_is_settled_once(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    let (store, mine) = (&subject.store, claim(RIGHT));
    assert!(!store.settle(NAME, &mine).await.unwrap(), "nothing is claimed");
    for _ in 0..3 {
        assert_eq!(store.redeem(NAME, &mine).await.unwrap(), Redemption::Value(VALUE.to_vec()));
    }
    assert_eq!(store.redeem(NAME, &claim(RIGHT)).await.unwrap(), Redemption::Claimed);
    assert!(!store.settle(NAME, &claim(RIGHT)).await.unwrap(), "another's claim");
    assert_eq!((store.get(NAME).await.unwrap(), store.take(NAME).await.unwrap()), (None, None));
    for _ in 0..3 {
        assert!(store.settle(NAME, &mine).await.unwrap(), "asked again, it is told the same");
    }
    assert_eq!(store.redeem(NAME, &mine).await.unwrap(), Redemption::Spent(EPITAPH), "settled is settled");
    assert!(!store.settle(NAME, &claim(RIGHT)).await.unwrap());
}

pub(super) async fn what_was_claimed_and_not_settled_goes_to_who_insists_with_the_same_guard(subject: Subject) {
    subject.put_guarded(SECOND).await;
    let (store, first) = (&subject.store, claim(RIGHT));
    let insisting = |now| Claim { insists: true, now: at(now), ..claim(RIGHT) };
    assert_eq!(store.redeem(NAME, &first).await.unwrap(), Redemption::Value(VALUE.to_vec()));
    subject.second_passes().await;
    let (second, third) = (insisting(115), insisting(130));
    for claim in [&second, &third] {
        assert_eq!(store.redeem(NAME, claim).await.unwrap(), Redemption::Value(VALUE.to_vec()));
    }
    assert!(!store.settle(NAME, &first).await.unwrap() && !store.settle(NAME, &second).await.unwrap());
    assert!(store.settle(NAME, &third).await.unwrap(), "one of them has it");
    assert_eq!(store.redeem(NAME, &insisting(130)).await.unwrap(), Redemption::Spent(EPITAPH));
    let brief = Claim { epitaph_lifetime: SECOND, ..claim(RIGHT) };
    subject.put_guarded(MINUTE).await;
    store.redeem(NAME, &brief).await.unwrap();
    subject.second_passes().await;
    assert_eq!(store.redeem(NAME, &insisting(100)).await.unwrap(), Redemption::Missing, "it lives like an epitaph");
}

pub(super) async fn a_wrong_guess_or_a_late_one_spends_what_was_claimed(subject: Subject) {
    let store = &subject.store;
    let late = Claim { insists: true, now: at(131), ..claim(RIGHT) };
    let wrong = Claim { insists: true, ..claim(WRONG) };
    for replay in [late, wrong] {
        subject.put_guarded(MINUTE).await;
        let first = claim(RIGHT);
        assert_eq!(store.redeem(NAME, &first).await.unwrap(), Redemption::Value(VALUE.to_vec()));
        assert_eq!(store.redeem(NAME, &replay).await.unwrap(), Redemption::Spent(EPITAPH));
        assert!(!store.settle(NAME, &first).await.unwrap() && !store.settle(NAME, &replay).await.unwrap());
        assert_eq!(store.redeem(NAME, &first).await.unwrap(), Redemption::Spent(EPITAPH));
    }
}

pub(super) async fn a_guarded_value_is_invisible_to_readers_and_takers(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.store.get(NAME).await.unwrap(), None);
    assert_eq!(subject.store.take(NAME).await.unwrap(), None);
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()), "taking did not consume it");
    assert_eq!(subject.store.get(NAME).await.unwrap(), None);
    assert_eq!(subject.store.take(NAME).await.unwrap(), None);
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Spent(EPITAPH), "taking did not remove the epitaph");
}

pub(super) async fn a_plain_value_is_not_redeemable(subject: Subject) {
    // The bytes of a guarded frame, written as a plain value: what a caller stores never passes for a frame.
    let forged = [b"L", &RIGHT[..], &EPITAPH, b"forged"].concat();
    subject.store.put(NAME, &forged, MINUTE).await.unwrap();
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    assert_eq!(subject.store.get(NAME).await.unwrap().unwrap(), forged);
}

pub(super) async fn plain_and_guarded_replace_each_other(subject: Subject) {
    subject.store.put(NAME, b"plain", MINUTE).await.unwrap();
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.store.get(NAME).await.unwrap(), None);
    subject.store.put(NAME, b"plain", MINUTE).await.unwrap();
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()), "a new value replaces an epitaph");
}

pub(super) async fn a_removed_guarded_value_leaves_no_epitaph(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    subject.store.remove(NAME).await.unwrap();
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
}

pub(super) async fn an_epitaph_lives_as_long_as_asked(subject: Subject) {
    subject.put_guarded(SECOND).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
    subject.second_passes().await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Spent(EPITAPH), "it outlives the value");
    subject.put_guarded(MINUTE).await;
    let brief = Claim { epitaph_lifetime: SECOND, ..claim(RIGHT) };
    let redeemed = redeem(&*subject.store, NAME, brief).await.unwrap();
    assert_eq!(redeemed, Redemption::Value(VALUE.to_vec()));
    subject.second_passes().await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
}
