//! An endpoint is one value: method, path, surface, access requirement, parameters, answer and handler. It is declared in
//! the file of its resource. The server, `explain`, the metrics and the tests read the same value.

use std::any::Any;
use std::marker::PhantomData;
use std::pin::Pin;

use axum::http::Method;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::Error;
use crate::oauth::Call;
use crate::oauth::error::Failure;
use crate::params::{Group, Param, ParamType, Params, Presence};
use crate::refusal::Refusal;
use crate::request::ParsedRequest;
use crate::web::{PageAccess, Visitor};

pub mod access;
pub mod answer;
#[cfg(feature = "faults")]
pub mod flips;
pub mod openapi;
pub mod permission;
pub mod pipeline;
pub mod refusals;

use crate::surface::Surface;
use access::{Access, Caller, EndpointAccess, FromCaller};
use answer::{AnswerSchema, ApiAnswer};
use permission::Permission;
use refusals::OwnRefusal;

/// One route with everything that decides about it. Made by [`Endpoint::api`], [`page`](Endpoint::page),
/// [`oauth`](Endpoint::oauth) or [`plain`](Endpoint::plain).
pub struct Endpoint {
    /// The method; a route for GET answers HEAD too.
    pub method: Method,
    /// With `{name}` for each captured segment.
    pub path: &'static str,
    /// Decides how it refuses, and what the log and the metrics call it.
    pub surface: Surface,
    /// The parameters that the handler declares, those of the path included.
    pub params: &'static [Param],
    /// Rules about several of them, in the order in which they are checked.
    pub groups: &'static [Group],
    /// What GitLab requires of a fine-grained token. Every endpoint of the API has one; nothing checks it yet.
    pub permission: Option<Permission>,
    /// What it refuses besides what every endpoint of the API does ([`refusals::PIPELINE`]).
    pub refusals: &'static [OwnRefusal],
    serves: Serves,
}

/// What runs when a request has been routed to it.
enum Serves {
    Api { access: EndpointAccess, answer: AnswerSchema, respell: fn(Refusal) -> Error, handler: Box<dyn ApiHandler> },
    Page { admits: PageAccess, handler: Box<dyn PageHandler> },
    Oauth(Box<OauthHandler>),
    Plain(Box<PlainHandler>),
}

type OauthHandler = dyn Fn(App, Call) -> Answer<Result<Response, Failure>> + Send + Sync;
type PlainHandler = dyn Fn(App, String) -> Answer<Response> + Send + Sync;

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Parameters of the type that the handler declares.
type Parsed = Box<dyn Any + Send>;

trait ApiHandler: Send + Sync {
    fn parse(&self, parsed: &ParsedRequest) -> Result<Parsed, Error>;

    fn call(&self, app: App, caller: Caller, params: Parsed) -> Answer<Result<Response, Error>>;
}

trait PageHandler: Send + Sync {
    fn parse(&self, parsed: &ParsedRequest) -> Result<Parsed, Error>;

    fn call(&self, app: App, visitor: Visitor, params: Parsed) -> Answer<Result<Response, Error>>;
}

/// A function with the types of its arguments.
struct Typed<F, A>(F, PhantomData<fn(A)>);

impl<F, C, P, R, Fut> ApiHandler for Typed<F, (C, P)>
where
    F: Fn(App, C, P) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R, Error>> + Send + 'static,
    C: FromCaller + 'static,
    P: Params + 'static,
    R: ApiAnswer,
{
    fn parse(&self, parsed: &ParsedRequest) -> Result<Parsed, Error> {
        Ok(Box::new(P::parse(parsed)?))
    }

    fn call(&self, app: App, caller: Caller, params: Parsed) -> Answer<Result<Response, Error>> {
        let answering = C::from_caller(caller).zip(params.downcast::<P>().ok());
        let answering = answering.map(|(caller, params)| self.0(app, caller, *params));
        Box::pin(async move { Ok(answering.ok_or(Error::Internal)?.await?.into_response()) })
    }
}

impl<F, P, R, Fut> PageHandler for Typed<F, P>
where
    F: Fn(App, Visitor, P) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R, Error>> + Send + 'static,
    P: Params + 'static,
    R: IntoResponse,
{
    fn parse(&self, parsed: &ParsedRequest) -> Result<Parsed, Error> {
        Ok(Box::new(P::parse(parsed)?))
    }

    fn call(&self, app: App, visitor: Visitor, params: Parsed) -> Answer<Result<Response, Error>> {
        let answering = params.downcast::<P>().ok().map(|params| self.0(app, visitor, *params));
        Box::pin(async move { Ok(answering.ok_or(Error::Internal)?.await?.into_response()) })
    }
}

impl Endpoint {
    /// An endpoint of the API. The type of what the handler returns says what it answers.
    pub fn api<C, P, R, F, Fut>(method: Method, path: &'static str, access: Access<C>, handler: F) -> Self
    where
        F: Fn(App, C, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Error>> + Send + 'static,
        C: FromCaller + 'static,
        P: Params + 'static,
        R: ApiAnswer + 'static,
    {
        let handler = Box::new(Typed(handler, PhantomData));
        let access = access.endpoint_access();
        let serves = Serves::Api { access, answer: R::SCHEMA, respell: Error::Refused, handler };
        Self::new(method, path, Surface::Api, (P::DECLARED, P::GROUPS), serves)
    }

    fn new(
        method: Method,
        path: &'static str,
        surface: Surface,
        (params, groups): (&'static [Param], &'static [Group]),
        serves: Serves,
    ) -> Self {
        Self { method, path, surface, params, groups, permission: None, refusals: &[], serves }
    }

    /// What GitLab requires of a fine-grained token that calls this endpoint of the API.
    pub fn permission(mut self, permission: Permission) -> Self {
        self.permission = Some(permission);
        self
    }

    /// How this endpoint says what an operation refused, where the API says it in more than one way.
    pub fn respelling(mut self, how: fn(Refusal) -> Error) -> Self {
        if let Serves::Api { respell, .. } = &mut self.serves {
            *respell = how;
        }
        self
    }

    /// Declares what it refuses besides what every endpoint of the API does.
    pub fn refuses(mut self, refusals: &'static [OwnRefusal]) -> Self {
        self.refusals = refusals;
        self
    }

    /// A page for people: sessions count, tokens never do (T10).
    pub fn page<P, R, F, Fut>(method: Method, path: &'static str, admits: PageAccess, handler: F) -> Self
    where
        F: Fn(App, Visitor, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Error>> + Send + 'static,
        P: Params + 'static,
        R: IntoResponse + 'static,
    {
        let handler = Box::new(Typed(handler, PhantomData));
        Self::new(method, path, Surface::Page, (P::DECLARED, P::GROUPS), Serves::Page { admits, handler })
    }

    /// An endpoint of the OAuth provider for programs. What it requires of its caller is part of its protocol: a
    /// client's credentials, or a token that is its very subject. Cookies are not read.
    pub fn oauth<Fut>(method: Method, path: &'static str, handler: fn(App, Call) -> Fut) -> Self
    where
        Fut: Future<Output = Result<Response, Failure>> + Send + 'static,
    {
        let serves = Serves::Oauth(Box::new(move |app, call| Box::pin(handler(app, call))));
        Self::new(method, path, Surface::Oauth, (&[], &[]), serves)
    }

    /// Something that looks at no credential.
    pub fn plain<R, Fut>(method: Method, path: &'static str, surface: Surface, handler: fn(App, String) -> Fut) -> Self
    where
        R: IntoResponse + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        let answer = move |app, name| -> Answer<Response> {
            let answering = handler(app, name);
            Box::pin(async move { answering.await.into_response() })
        };
        Self::new(method, path, surface, (&[], &[]), Serves::Plain(Box::new(answer)))
    }

    /// `None`: a page, an endpoint of OAuth, or something that looks at no credential.
    pub fn access(&self) -> Option<&EndpointAccess> {
        match &self.serves {
            Serves::Api { access, .. } => Some(access),
            Serves::Page { .. } | Serves::Oauth(_) | Serves::Plain(_) => None,
        }
    }

    /// What it answers if it succeeds. `None` where there is no access requirement either.
    pub fn answer(&self) -> Option<&AnswerSchema> {
        match &self.serves {
            Serves::Api { answer, .. } => Some(answer),
            Serves::Page { .. } | Serves::Oauth(_) | Serves::Plain(_) => None,
        }
    }

    /// The path with every `{name}` filled in by a value of its kind.
    pub fn example(&self, value: impl Fn(ParamType) -> String) -> String {
        let captured = self.params.iter().filter(|param| param.presence == Presence::Path);
        captured
            .fold(self.path.to_owned(), |path, param| path.replace(&format!("{{{}}}", param.name), &value(param.kind)))
    }

    /// Whether the last segment may hold any character, or has a suffix of its own, so that a suffix belongs to it
    /// (authentication.md 1.4).
    pub fn ends_freely(&self) -> bool {
        let last = self.params.iter().find(|param| self.path.ends_with(&format!("/{{{}}}", param.name)));
        let has_suffix = self.path.rsplit('/').next().is_some_and(|last| last.contains('.'));
        last.is_some_and(|param| param.kind == ParamType::Text) || has_suffix || self.path.starts_with("/assets/")
    }
}
