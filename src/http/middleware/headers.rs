//! What every request passes on its way in and out: one layer, because each that stands by itself
//! costs every request an allocation and a pass over the headers. Plain inserts on connections of
//! their own (`connection/inserting.rs`) pass the same checks, called from there.
//!
//! Owns the order of what is done: the `Host` is looked at last on the way in; on the way out come
//! CORS, the form of what is refused, and the headers of every answer.
//! Promises that a request without an `Origin`, which is no page's of another origin, costs nothing
//! of CORS but the `Vary` that caches need.
//! Does not decide which origins and hosts are allowed, nor what a refusal says.

use std::rc::Rc;

use actix_cors::Cors;
use actix_http::ConnectionType;
use actix_web::Error;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, Version};
use actix_web::web;
use futures_util::future::{Either, LocalBoxFuture, ok};

use crate::http::middleware::cors_host;
use crate::http::problem;
use crate::http::state::AppState;

/// The names that CORS adds to every `Vary`, with or without an `Origin`: what a cache keeps of one
/// is not for the other.
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Makes the layer around all routes.
pub struct Middleware {
    state: web::Data<AppState>,
    cors: Cors,
}

impl Middleware {
    pub fn new(state: web::Data<AppState>) -> Self {
        let cors = cors_host::cors(&state.broker.config().origin);
        Self { state, cors }
    }
}

type ServiceResult = Result<ServiceResponse, Error>;
type ServiceFuture = LocalBoxFuture<'static, ServiceResult>;
/// What CORS wraps.
type CorsInner<S> = Rc<HostChecked<S>>;

impl<S> Transform<S, ServiceRequest> for Middleware
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Transform = MiddlewareService<S>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let state = self.state.clone();
        let without_cors = Rc::new(HostChecked { service, state: state.clone() });
        let cors = self.cors.new_transform(without_cors.clone());
        Box::pin(async move { Ok(MiddlewareService { without_cors, cors: cors.await?, state }) })
    }
}

/// The layer.
pub struct MiddlewareService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    without_cors: CorsInner<S>,
    cors: <Cors as Transform<CorsInner<S>, ServiceRequest>>::Transform,
    state: web::Data<AppState>,
}

impl<S> Service<ServiceRequest> for MiddlewareService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Future = ServiceFuture;

    forward_ready!(without_cors);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let state = self.state.clone();
        // A preflight is told by more than its Origin, and CORS knows by what.
        if request.headers().contains_key(header::ORIGIN) || request.method() == Method::OPTIONS {
            let answer = self.cors.call(request);
            return Box::pin(async move {
                let answer = answer.await?.map_into_boxed_body();
                Ok(finish(problem::as_problem(answer, &state)))
            });
        }
        let answer = self.without_cors.call(request);
        Box::pin(async move {
            let mut answer = problem::as_problem(answer.await?, &state);
            add_vary(answer.headers_mut());
            Ok(finish(answer))
        })
    }
}

/// The routes behind the `Host` check.
struct HostChecked<S> {
    service: S,
    state: web::Data<AppState>,
}

impl<S> Service<ServiceRequest> for HostChecked<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error> + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Future = Either<S::Future, futures_util::future::Ready<ServiceResult>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        match cors_host::check_host(request.head(), self.state.broker.config()) {
            Ok(()) => Either::Left(self.service.call(request)),
            Err(problem) => Either::Right(ok(request.into_response(problem.response()))),
        }
    }
}

/// What every answer has that is none of CORS's.
pub fn set_defaults(headers: &mut HeaderMap) {
    add_vary(headers);
    add_nosniff(headers);
}

fn add_vary(headers: &mut HeaderMap) {
    let value = match headers.get(header::VARY).and_then(|value| value.to_str().ok()) {
        None => HeaderValue::from_static(VARY),
        Some(before) => HeaderValue::from_str(&format!("{before}, {VARY}"))
            .expect("names of headers with commas between them are a value"),
    };
    headers.insert(header::VARY, value);
}

/// No answer is to be taken for another type than it says.
fn add_nosniff(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The last that is done to an answer, whoever gave it.
fn finish(mut answer: ServiceResponse) -> ServiceResponse {
    add_nosniff(answer.headers_mut());
    if answer.request().version() == Version::HTTP_10 {
        // It knows no chunks (RFC 9112, section 6.1): a stream ends with its connection.
        let head = answer.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    answer
}
