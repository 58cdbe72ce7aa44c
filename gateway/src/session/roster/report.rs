//! What operators are answered, as JSON: by the command and by the admin listener alike.

use serde_json::{Value, json};

use super::{List, Listed, Revoked};

impl List {
    pub fn to_json(&self) -> Value {
        let sessions: Vec<_> = self.sessions.iter().map(Listed::to_json).collect();
        json!({ "sessions": sessions, "more": self.more, "unknown": self.unknown })
    }
}

impl Listed {
    /// Without a listing that opens, only the id is known.
    pub fn to_json(&self) -> Value {
        let mut session = json!({ "session": self.id() });
        if let Some(listing) = &self.listing {
            let (user, client) = (&listing.user, &listing.client);
            session["user"] = json!({
                "tenant_id": user.tenant_id,
                "object_id": user.object_id,
                "name": user.name,
                "login": user.login,
            });
            session["client"] = json!({ "id": client.id(), "name": client.name });
            session["resource"] = listing.resource.as_str().into();
            session["created"] = listing.created.to_text().into();
            session["last_used"] = listing.last_used.to_text().into();
            session["ends"] = listing.ends.to_text().into();
        }
        session
    }
}

impl Revoked {
    pub fn to_json(&self) -> Value {
        json!({ "ended": self.ended, "unknown": self.unknown, "complete": self.is_complete() })
    }

    /// Whether every session that is meant has ended.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && self.unknown == 0
    }
}
