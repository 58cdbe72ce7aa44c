//! After the sign-in: whether this person is let in at all, by tenant (GU-15) and by the rules (T44).

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
        let who = Subject::of(&sign_in.user.tenant_id, &sign_in.user.object_id);
        Err(no_access(request, fault, cause, description, who))
    }

    /// Entra has signed somebody in whose tenant is not among ours. Who that was is for the logs; the page and the client learn
    /// that it was the tenant.
    pub(super) fn other_tenant(&self, request: &AuthorizationRequest, tenant_id: &str, object_id: &str) -> Error {
        let client: String = request.client.as_bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        tracing::warn!(tenant_id, object_id, client, "a user of a tenant that is not allowed signed in at Entra");
        let description = "Accounts of this organisation may not use this server (SP-1305).";
        no_access(request, Fault::OtherTenant, NoAccess::Tenant, description, Subject::of(tenant_id, object_id))
    }
}

fn no_access(
    request: &AuthorizationRequest,
    fault: Fault,
    cause: NoAccess,
    description: &'static str,
    who: Subject,
) -> Error {
    let to = request.return_to.clone();
    let refusal = Box::new(Refusal { to, reason: Reason::AccessDenied, description, who: Some(who) });
    match request.prompt {
        // Nobody is to see a page.
        Some(Prompt::None) => Error::Client(refusal),
        _ => Error::NoAccess(fault, cause, refusal),
    }
}

impl AccessRefused {
    pub(super) fn of(cause: NoAccess) -> Self {
        let kind = match cause {
            NoAccess::Unknown | NoAccess::SignIn => "sign_in",
            NoAccess::Upstream => "upstream",
            NoAccess::Tenant => "tenant",
        };
        Self { kind }
    }
}
