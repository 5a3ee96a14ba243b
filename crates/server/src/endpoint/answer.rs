//! What a handler of the API may answer with. The type of its answer says everything that a client can rely on: the
//! status, and which entity it gets, once or in a list.

use std::marker::PhantomData;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::app::App;
use crate::entity::writer::Writer;
use crate::entity::{Entity, Schema, WrittenFrom};
use crate::json;

/// What an endpoint answers if it succeeds.
#[derive(Clone, Copy, Debug)]
pub struct AnswerSchema {
    /// The status of a success.
    pub status: StatusCode,
    /// What its body is.
    pub body: BodySchema,
}

/// What the body of an answer holds.
#[derive(Clone, Copy, Debug)]
pub enum BodySchema {
    /// Nothing.
    Nothing,
    /// One object.
    One(&'static Schema),
    /// A list that is never divided.
    All(&'static Schema),
    /// A page of a list, with the headers of `api/pages.rs`.
    Page(&'static Schema),
    /// The OpenAPI document, with an `ETag`; 304 to a caller who has it.
    Document,
}

/// The answer of a handler.
pub trait ApiAnswer: IntoResponse {
    /// What a client can rely on.
    const SCHEMA: AnswerSchema;
}

/// 200 with an `E`.
pub struct One<E>(Vec<u8>, PhantomData<fn() -> E>);

/// 201 with an `E`.
pub struct Created<E>(One<E>);

/// 200 with a list of all there is.
pub struct All<E>(Vec<u8>, PhantomData<fn() -> E>);

/// 200 with some of a list, and headers that say where the rest is.
pub struct Page<E> {
    /// Pagination: `Link`, `X-Total` and the like (rest-api.md 1.4).
    pub headers: HeaderMap,
    rows: All<E>,
}

/// 204
pub struct NoContent;

/// 200 with an OpenAPI document, or 304.
pub struct Document {
    /// `None`: the caller has it.
    pub body: Option<Bytes>,
    pub etag: HeaderValue,
}

impl<E> One<E> {
    /// Written from `source`, in the order of the entity's keys.
    pub fn of<S>(app: &App, source: &S) -> Self
    where
        E: WrittenFrom<S>,
    {
        let mut out = writer(app);
        out.object::<E, S>(source);
        Self(out.into_bytes(), PhantomData)
    }
}

impl<E> Created<E> {
    /// Written from `source`, in the order of the entity's keys.
    pub fn of<S>(app: &App, source: &S) -> Self
    where
        E: WrittenFrom<S>,
    {
        Self(One::of(app, source))
    }
}

impl<E> All<E> {
    /// Each written from its source, in the order in which they come.
    pub fn of<S>(app: &App, sources: impl IntoIterator<Item = S>) -> Self
    where
        E: WrittenFrom<S>,
    {
        let mut out = writer(app);
        out.list::<E, S>(sources);
        Self(out.into_bytes(), PhantomData)
    }
}

impl<E> Page<E> {
    /// Still without its headers.
    pub fn of<S>(app: &App, sources: impl IntoIterator<Item = S>) -> Self
    where
        E: WrittenFrom<S>,
    {
        Self { headers: HeaderMap::new(), rows: All::of(app, sources) }
    }
}

impl<E: Entity> ApiAnswer for One<E> {
    const SCHEMA: AnswerSchema = AnswerSchema { status: StatusCode::OK, body: BodySchema::One(E::SCHEMA) };
}

impl<E: Entity> ApiAnswer for Created<E> {
    const SCHEMA: AnswerSchema = AnswerSchema { status: StatusCode::CREATED, body: BodySchema::One(E::SCHEMA) };
}

impl<E: Entity> ApiAnswer for All<E> {
    const SCHEMA: AnswerSchema = AnswerSchema { status: StatusCode::OK, body: BodySchema::All(E::SCHEMA) };
}

impl<E: Entity> ApiAnswer for Page<E> {
    const SCHEMA: AnswerSchema = AnswerSchema { status: StatusCode::OK, body: BodySchema::Page(E::SCHEMA) };
}

impl ApiAnswer for NoContent {
    const SCHEMA: AnswerSchema = AnswerSchema { status: StatusCode::NO_CONTENT, body: BodySchema::Nothing };
}

impl ApiAnswer for Document {
    const SCHEMA: AnswerSchema = AnswerSchema { status: StatusCode::OK, body: BodySchema::Document };
}

impl<E: Entity> IntoResponse for One<E> {
    fn into_response(self) -> Response {
        json::response(Self::SCHEMA.status, self.0)
    }
}

impl<E: Entity> IntoResponse for Created<E> {
    fn into_response(self) -> Response {
        json::response(Self::SCHEMA.status, self.0.0)
    }
}

impl<E: Entity> IntoResponse for All<E> {
    fn into_response(self) -> Response {
        json::response(Self::SCHEMA.status, self.0)
    }
}

impl<E: Entity> IntoResponse for Page<E> {
    fn into_response(self) -> Response {
        let mut response = self.rows.into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        Self::SCHEMA.status.into_response()
    }
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => json::response(Self::SCHEMA.status, body),
            None => StatusCode::NOT_MODIFIED.into_response(),
        };
        response.headers_mut().insert(header::ETAG, self.etag);
        response
    }
}

fn writer(app: &App) -> Writer {
    let out = Writer::new(app.settings.api.version);
    #[cfg(feature = "faults")]
    let out = out.leaving_out(app.faults.left_out());
    out
}
