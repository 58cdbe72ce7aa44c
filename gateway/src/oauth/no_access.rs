//! After the sign-in: whether the rules let this person in at all (T44).

use entra::{Groups, SignIn};

use super::AuthorizationServer;
use super::error::{Error, Reason, Refusal};
use super::prompt::Prompt;
use super::records::AuthorizationRequest;
use crate::access::NoAccess;
use crate::audit::Subject;
use crate::browser::Fault;

/// Rides on an answer that refuses a sign-in, for whoever counts.
#[derive(Clone, Copy, Debug)]
pub struct AccessRefused {
    /// A label for metrics.
    pub kind: &'static str,
}

impl AuthorizationServer {
    /// Before anything is kept of the sign-in: who may not use the resource gets no session for it.
    pub(super) fn check_access(&self, request: &AuthorizationRequest, sign_in: &SignIn) -> Result<(), Error> {
        let (access, memberships) = (self.sessions.access(), &sign_in.memberships);
        let untold = memberships.groups == Groups::TooMany;
        if untold && access.names_groups() {
            tracing::warn!(
                "a user is in too many groups for Entra to tell: none of them counts. Use app roles, or have Entra tell only \
                 groups that are assigned to the application"
            );
        }
        let Err(cause) = access.admits(&access.of(memberships), &request.resource) else { return Ok(()) };
        let fault = match untold && access.hangs_on_groups(cause, &request.resource) {
            true => Fault::GroupsUntold,
            false => Fault::NoAccess,
        };
        let description = match fault {
            Fault::GroupsUntold => "The sign-in does not tell the groups of this account (SP-1304).",
            _ => "This account may not use this server (SP-1303).",
        };
        let who = Some(Subject::of(&sign_in.user.tenant_id, &sign_in.user.object_id));
        let to = request.return_to.clone();
        let refusal = Box::new(Refusal { to, reason: Reason::AccessDenied, description, who });
        match request.prompt {
            // Nobody is to see a page.
            Some(Prompt::None) => Err(Error::Client(refusal)),
            _ => Err(Error::NoAccess(fault, cause, refusal)),
        }
    }
}

impl AccessRefused {
    pub(super) fn of(cause: NoAccess) -> Self {
        let kind = match cause {
            NoAccess::Unknown | NoAccess::SignIn => "sign_in",
            NoAccess::Upstream => "upstream",
        };
        Self { kind }
    }
}
