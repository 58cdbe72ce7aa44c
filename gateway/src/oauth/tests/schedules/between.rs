//! The store of a replica, with the schedule between it and the one in memory, and with one of its promises broken where that
//! is wanted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::desk::{Desk, Fate};
use crate::clock::Timestamp;
use crate::store::{Advance, Claim, Guarded, Listener, MemoryStore, Page, Redemption, Step, Store, StoreError};

/// A protection that is missing, to see that its absence is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Of two who redeem a code at the same time both get it: nobody's claim keeps others away.
    OneStep,
    /// A code is never spent.
    SingleUse,
    /// A refresh token that was used is taken for a repetition, however old it is.
    Reuse,
    /// A repetition counts for ten times as long.
    Grace,
    /// Records stay where they are though they are removed.
    Removal,
    /// What was removed comes back when somebody writes who had read it before.
    Replacement,
    /// A store that fails looks as if nothing were there.
    Candour,
    /// The clock of one replica stands still.
    Time,
}

pub struct Between {
    pub inner: Arc<MemoryStore>,
    pub desk: Desk,
    pub replica: usize,
    pub missing: Option<Missing>,
    /// What was redeemed, for codes that are never spent.
    pub redeemed: Mutex<HashMap<String, Vec<u8>>>,
}

impl Between {
    fn misses(&self, missing: Missing) -> bool {
        self.missing == Some(missing)
    }

    async fn ask<T>(
        &self,
        call: &'static str,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.desk.count(call);
        let fate = self.desk.wait(self.replica, call).await;
        if fate == Fate::Fails {
            self.desk.fault();
            return Err(StoreError::Unavailable("it fails".into()));
        }
        let answer = asked.await;
        if fate != Fate::Done {
            self.desk.wait(self.replica, "an answer").await;
        }
        if fate == Fate::Lost {
            self.desk.fault();
            return Err(StoreError::Unavailable("its answer is lost".into()));
        }
        answer
    }
}

/// Longer than the end of a session takes.
const LATE: usize = 8;

#[async_trait]
impl Store for Between {
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.ask("put", self.inner.put(name, value, lifetime)).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.ask("get", self.inner.get(name)).await {
            Err(_) if self.misses(Missing::Candour) => Ok(None),
            answer => answer,
        }
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask("take", self.inner.take(name)).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self.misses(Missing::Removal) {
            true => self.ask("remove", async { Ok(()) }).await,
            false => self.ask("remove", self.inner.remove(name)).await,
        }
    }

    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        if self.misses(Missing::Replacement) {
            // Late, too, or it is hardly ever there that it was removed meanwhile.
            for _ in 0..LATE {
                self.desk.wait(self.replica, "a write that is late").await;
            }
            let put = async { self.inner.put(name, value, lifetime).await.map(|()| true) };
            return self.ask("replace", put).await;
        }
        self.ask("replace", self.inner.replace(name, value, lifetime)).await
    }

    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.ask("put_new", self.inner.put_new(name, value, lifetime)).await
    }

    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.ask("remove_if", self.inner.remove_if(name, value)).await
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        self.ask("put_guarded", self.inner.put_guarded(name, value, lifetime)).await
    }

    async fn redeem(&self, name: &str, claim: &Claim) -> Result<Redemption, StoreError> {
        let redeemed = self.redeemed.lock().unwrap().get(name).cloned();
        if self.misses(Missing::SingleUse)
            && let Some(value) = redeemed
        {
            return self.ask("redeem", async { Ok(Redemption::Value(value)) }).await;
        }
        let claim = Claim { insists: claim.insists || self.misses(Missing::OneStep), ..*claim };
        let redemption = self.ask("redeem", self.inner.redeem(name, &claim)).await?;
        if let Redemption::Value(value) = &redemption {
            self.redeemed.lock().unwrap().insert(name.to_owned(), value.clone());
        }
        Ok(redemption)
    }

    async fn settle(&self, name: &str, claim: &Claim) -> Result<bool, StoreError> {
        let settled = self.ask("settle", self.inner.settle(name, claim)).await?;
        Ok(settled || self.misses(Missing::SingleUse) || self.misses(Missing::OneStep))
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.ask("start_counter", self.inner.start_counter(name, now, lifetime)).await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        let grace = if self.misses(Missing::Grace) { step.grace * 10 } else { step.grace };
        let advance = self.ask("advance", self.inner.advance(name, Step { grace, ..step })).await?;
        Ok(match advance {
            Advance::Reused if self.misses(Missing::Reuse) => Advance::Repeated(step.presented + 1),
            advance => advance,
        })
    }

    async fn holds(&self, name: &str) -> Result<bool, StoreError> {
        self.ask("holds", self.inner.holds(name)).await
    }

    async fn enlist(&self, set: &str, member: &[u8], ends: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        self.ask("enlist", self.inner.enlist(set, member, ends, now)).await
    }

    async fn enlisted(&self, set: &str, page: Page) -> Result<Vec<Vec<u8>>, StoreError> {
        // Operators' revocations are by user here, and look into the 64 sets of all only for keys that nobody has here.
        if set.starts_with("sallyport:sessions:") {
            return self.inner.enlisted(set, page).await;
        }
        self.ask("enlisted", self.inner.enlisted(set, page)).await
    }

    async fn strike(&self, set: &str, member: &[u8]) -> Result<(), StoreError> {
        self.ask("strike", self.inner.strike(set, member)).await
    }

    async fn announce(&self, _: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.ask("announce", async {
            self.desk.announce(message);
            Ok(())
        })
        .await
    }

    fn listen(&self, _: &'static str) -> Box<dyn Listener> {
        self.desk.listen(self.replica)
    }
}
