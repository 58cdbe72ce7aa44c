//! Microsoft Graph as far as a signed-in user's profile goes, with its errors.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::call::{Call, Outcome};
use crate::directory::{GRAPH, User};
use crate::jwt::Jwt;
use crate::world::World;

const CONTEXT: &str = "https://graph.microsoft.com/v1.0/$metadata#users";

/// GET `/graph/v1.0/me`.
pub(crate) async fn me(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    let answer = caller(&world, &call)
        .and_then(|caller| caller.delegated())
        .and_then(|(user, scp)| may_read(&scp).map(|()| user))
        .and_then(|user| profile(&user, &call));
    finished(&world, &call, answer)
}

/// GET `/graph/v1.0/users/{id}`: with `User.Read` only oneself.
pub(crate) async fn user(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Response {
    let answer = caller(&world, &call).and_then(|caller| caller.delegated()).and_then(|(user, scp)| {
        may_read(&scp)?;
        if user.oid == id || user.upn.eq_ignore_ascii_case(&id) {
            return profile(&user, &call);
        }
        let directory = world.directory();
        let other = directory.user(&id).or_else(|| directory.user_named(&id)).cloned();
        match other {
            _ if !scp.iter().any(|scope| scope == "User.ReadBasic.All") => Err(GraphError::denied()),
            Some(other) => profile(&other, &call),
            None => Err(GraphError::not_found(&id)),
        }
    });
    finished(&world, &call, answer)
}

/// GET `/graph/oidc/userinfo`.
pub(crate) async fn userinfo(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    let answer = caller(&world, &call).and_then(|caller| caller.delegated()).map(|(user, _)| {
        json!({"sub": user.oid, "name": user.name, "family_name": user.surname, "given_name": user.given_name, "email": user.mail})
    });
    finished(&world, &call, answer)
}

/// Any other path below `/graph`.
pub(crate) async fn unknown(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    let segment = call.path.rsplit('/').next().unwrap_or_default().to_owned();
    finished(&world, &call, Err(GraphError::not_found(&segment)))
}

/// An error in Graph's shape.
pub(crate) struct GraphError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Value of a claims challenge's `claims`.
    pub claims: Option<String>,
}

impl GraphError {
    /// What Graph says with that status.
    pub fn with_status(status: StatusCode) -> GraphError {
        let (code, message) = match status.as_u16() {
            400 => ("BadRequest", "The request is not valid."),
            401 => ("InvalidAuthenticationToken", "Access token is empty."),
            403 => ("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
            404 => ("Request_ResourceNotFound", "Resource does not exist."),
            429 => ("TooManyRequests", "Please retry again later."),
            503 => ("ServiceUnavailable", "The service is temporarily unavailable."),
            504 => ("GatewayTimeout", "The service did not answer in time."),
            _ => ("UnknownError", "An error occurred."),
        };
        GraphError { status, code, message: message.into(), claims: None }
    }

    pub fn answer(&self, world: &World, call: &Call) -> Response {
        let request_id = Uuid::new_v4().to_string();
        let client_request_id = call.header("client-request-id").unwrap_or(&request_id).to_owned();
        let mut inner = json!({
            "date": world.clock.graph_stamp(), "request-id": request_id, "client-request-id": client_request_id,
        });
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            inner["code"] = json!("429");
            inner["status"] = json!("429");
        }
        let body = json!({"error": {"code": self.code, "message": self.message, "innerError": inner}});
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, self.challenge());
        }
        response.extensions_mut().insert(Outcome(self.code.into()));
        graph_headers(response, call, &request_id)
    }

    fn challenge(&self) -> HeaderValue {
        let mut challenge = format!(
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"{GRAPH}\""
        );
        if let Some(claims) = &self.claims {
            challenge.push_str(&format!(", error=\"insufficient_claims\", claims=\"{}\"", STANDARD.encode(claims)));
        }
        HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    fn unauthorized(message: &str) -> GraphError {
        GraphError { message: message.into(), ..GraphError::with_status(StatusCode::UNAUTHORIZED) }
    }

    fn denied() -> GraphError {
        GraphError::with_status(StatusCode::FORBIDDEN)
    }

    fn not_found(what: &str) -> GraphError {
        GraphError {
            message: format!(
                "Resource '{what}' does not exist or one of its queried reference-property objects are not present."
            ),
            ..GraphError::with_status(StatusCode::NOT_FOUND)
        }
    }

    fn bad_request(message: String) -> GraphError {
        GraphError { message, ..GraphError::with_status(StatusCode::BAD_REQUEST) }
    }
}

/// Whose token it is.
enum Caller {
    App,
    User(Box<User>, Vec<String>),
}

impl Caller {
    fn delegated(self) -> Result<(User, Vec<String>), GraphError> {
        match self {
            Caller::User(user, scp) => Ok((*user, scp)),
            Caller::App => {
                Err(GraphError::bad_request("/me request is only valid with delegated authentication flow.".into()))
            }
        }
    }
}

fn caller(world: &World, call: &Call) -> Result<Caller, GraphError> {
    let token = call.bearer().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| GraphError::unauthorized("Access token is empty."))?;
    let token = Jwt::parse(token)
        .ok_or_else(|| GraphError::unauthorized("CompactToken parsing failed with error code: 80049217"))?;
    let audiences = token.audiences();
    if !(audiences == ["https://graph.microsoft.com"] || audiences == [GRAPH]) {
        return Err(GraphError::unauthorized("Access token validation failure. Invalid audience."));
    }
    if !token.signed_for_graph(&world.keys) {
        return Err(GraphError::unauthorized("Access token validation failure."));
    }
    if !token.is_current(world.clock.now()) {
        return Err(GraphError::unauthorized("Lifetime validation failed, the token is expired."));
    }
    if token.text("idtyp") == "app" {
        return Ok(Caller::App);
    }
    let user = world.directory().user(token.text("oid")).cloned();
    let user = user.ok_or_else(|| GraphError::unauthorized("The user does not exist."))?;
    let revoked = world.tickets().session(token.text("sid")).is_none_or(|session| session.revoked);
    if revoked || user.disabled {
        return Err(evaluated(world, &token));
    }
    let scp = token.text("scp").split(' ').map(Into::into).collect();
    Ok(Caller::User(Box::new(user), scp))
}

/// Continuous access evaluation: the session behind the token is over. Only a client that said it can handle
/// challenges gets one.
fn evaluated(world: &World, token: &Jwt) -> GraphError {
    let capable = token.claims["xms_cc"].as_array().is_some_and(|values| values.iter().any(|value| value == "cp1"));
    if !capable {
        return GraphError::unauthorized("Access token validation failure. The session was revoked.");
    }
    let claims = json!({"access_token": {
        "nbf": {"essential": true, "value": world.clock.now().to_string()}, "xms_caeerror": {"value": "10012"},
    }});
    GraphError {
        claims: Some(claims.to_string()),
        ..GraphError::unauthorized(
            "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp",
        )
    }
}

fn may_read(scp: &[String]) -> Result<(), GraphError> {
    if scp.iter().any(|scope| scope == "User.Read") { Ok(()) } else { Err(GraphError::denied()) }
}

/// The user, whole or as `$select` wants it.
fn profile(user: &User, call: &Call) -> Result<Value, GraphError> {
    let whole = json!({
        "businessPhones": user.business_phones, "displayName": user.name, "givenName": user.given_name, "jobTitle": user.job_title,
        "mail": user.mail, "mobilePhone": user.mobile_phone, "officeLocation": null, "preferredLanguage": null,
        "surname": user.surname, "userPrincipalName": user.upn, "id": user.oid,
    });
    let Some(select) = call.query.get("$select") else {
        let mut answer = json!({"@odata.context": format!("{CONTEXT}/$entity")});
        merge(&mut answer, whole);
        return Ok(answer);
    };
    let mut answer = Map::new();
    answer.insert("@odata.context".into(), json!(format!("{CONTEXT}({select})/$entity")));
    for name in select.split(',').map(str::trim) {
        let value = whole.get(name).ok_or_else(|| {
            GraphError::bad_request(format!("Could not find a property named '{name}' on type 'microsoft.graph.user'."))
        })?;
        answer.insert(name.into(), value.clone());
    }
    Ok(Value::Object(answer))
}

fn finished(world: &World, call: &Call, answer: Result<Value, GraphError>) -> Response {
    match answer {
        Ok(body) => {
            let mut response = Json(body).into_response();
            response.extensions_mut().insert(Outcome("ok".into()));
            graph_headers(response, call, &Uuid::new_v4().to_string())
        }
        Err(error) => error.answer(world, call),
    }
}

fn graph_headers(mut response: Response, call: &Call, request_id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("request-id", value.clone());
        headers.insert("client-request-id", call.headers.get("client-request-id").cloned().unwrap_or(value));
    }
    headers.insert("x-ms-ags-diagnostic", HeaderValue::from_static("{\"ServerInfo\":{\"DataCenter\":\"Emulated\"}}"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
