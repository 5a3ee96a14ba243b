//! What an endpoint of the API refuses, as data: what the pipeline refuses at every endpoint, and what an endpoint declares
//! besides. The OpenAPI document is made from both (`openapi/`). The tests hold every answer against it.

use axum::http::{Method, StatusCode};

use crate::request::reads_json;

/// What a refusal of the API has as its JSON body (rest-api.md 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalBody {
    /// `{"message":"<text>"}`
    Message,
    /// `{"error":"<sentences>"}`
    Framework,
    /// `{"error":"<code>","error_description":"<text>"}`
    Oauth,
    /// `{"error":"insufficient_scope","error_description":"<text>","scope":"<scopes>"}`
    InsufficientScope,
    /// `{"status":400,"error":"Bad Request"}`
    BrokenJson,
    /// `{"message":{"<field>":["<text>"]}}`
    InvalidFields,
    /// `{"error":["<sentence>"]}`
    Limit,
}

/// A refusal of an endpoint's own, besides those of [`PIPELINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRefusal {
    /// 400: a field breaks a rule.
    InvalidFields,
    /// 403: the caller has as many as an account may have.
    Limit,
    /// 405: this order of the list has no keyset.
    NoKeyset,
    /// 422: a field breaks a rule, said as one sentence.
    Unprocessable,
    /// A session or an OAuth token was presented, and the endpoint is about a personal access token: 400 or 405.
    NotPersonalAccessToken(StatusCode),
}

/// A refusal of the pipeline. A handler may refuse with the same status and body.
#[derive(Clone, Copy, Debug)]
pub struct PipelineRefusal {
    pub status: StatusCode,
    /// In `components/responses` of the OpenAPI document.
    pub name: &'static str,
    pub bodies: &'static [RefusalBody],
    /// The text that may stand in place of JSON.
    pub plain: Option<&'static str>,
    /// A header that only this refusal has.
    pub header: Option<&'static str>,
    pub description: &'static str,
}

impl OwnRefusal {
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidFields => StatusCode::BAD_REQUEST,
            Self::Limit => StatusCode::FORBIDDEN,
            Self::NoKeyset => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotPersonalAccessToken(status) => status,
        }
    }

    pub const fn body(self) -> RefusalBody {
        match self {
            Self::InvalidFields => RefusalBody::InvalidFields,
            Self::Limit => RefusalBody::Limit,
            Self::NoKeyset => RefusalBody::Framework,
            Self::Unprocessable | Self::NotPersonalAccessToken(_) => RefusalBody::Message,
        }
    }

    pub const fn description(self) -> &'static str {
        match self {
            Self::InvalidFields | Self::Unprocessable => "A field breaks a rule.",
            Self::Limit => "The caller has as many as an account may have.",
            Self::NoKeyset => "This order has no keyset pagination.",
            Self::NotPersonalAccessToken(_) => "The credential is not a personal access token.",
        }
    }
}

impl PipelineRefusal {
    /// Whether an endpoint of this method refuses so.
    pub fn occurs(&self, method: &Method) -> bool {
        self.status != StatusCode::UNSUPPORTED_MEDIA_TYPE || reads_json(method)
    }
}

const fn refusal(
    status: StatusCode,
    name: &'static str,
    bodies: &'static [RefusalBody],
    description: &'static str,
) -> PipelineRefusal {
    PipelineRefusal { status, name, bodies, plain: None, header: None, description }
}

use RefusalBody::{BrokenJson, Framework, InsufficientScope, Message, Oauth};

/// What every endpoint of the API refuses, in the order of the status (authentication.md 0 and 2, rest-api.md 1.3).
pub const PIPELINE: &[PipelineRefusal] = &[
    PipelineRefusal {
        plain: Some("Bad Request"),
        ..refusal(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            &[Framework, Message, Oauth, BrokenJson],
            "A parameter, or the request itself, cannot be read.",
        )
    },
    PipelineRefusal {
        header: Some("WWW-Authenticate"),
        ..refusal(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            &[Message, Oauth],
            "A credential is missing, unknown, expired or revoked.",
        )
    },
    refusal(StatusCode::FORBIDDEN, "Forbidden", &[Message, InsufficientScope], "The caller may not do this."),
    refusal(
        StatusCode::NOT_FOUND,
        "NotFound",
        &[Message, Framework],
        "What the path or `sudo` names does not exist, or the caller may not see it.",
    ),
    refusal(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", &[Framework], "`format` is not `json`."),
    refusal(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", &[Message], "The body came too slowly."),
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "ContentTooLarge", &[Message], "The body is too large."),
    refusal(StatusCode::URI_TOO_LONG, "UriTooLong", &[Message], "Path and query are too long."),
    refusal(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        &[Framework],
        "The body is neither JSON nor a form.",
    ),
    refusal(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "RequestHeaderFieldsTooLarge",
        &[Message],
        "The headers are too large.",
    ),
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", &[Message], "A fault of the server."),
    PipelineRefusal {
        header: Some("Retry-After"),
        ..refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            &[Message],
            "The server cannot answer now; the same request may succeed later.",
        )
    },
];
