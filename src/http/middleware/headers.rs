//! The middleware around all routes: CORS, the `Host` check, problem documents, default headers.
//!
//! It is one layer, because each separate layer costs every request an allocation and a pass over
//! the headers. A request without an `Origin` does not come from a page of another origin, and
//! skips CORS except for the `Vary` that caches need. Inserts on connections of their own
//! (`connection/insert.rs`) do not pass this layer and make the same checks themselves.

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

/// The names that CORS adds to `Vary`. Answers without an `Origin` need them too, so that a cache
/// does not use an answer to one origin for another.
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// The factory of the middleware.
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
/// The service that CORS wraps.
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

/// The middleware of one worker.
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
        // CORS itself decides which OPTIONS requests are preflights.
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

/// The routes, behind the `Host` check.
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

/// Sets the headers that every answer has, for answers that do not pass the middleware.
pub fn set_defaults(headers: &mut HeaderMap) {
    add_vary(headers);
    add_nosniff(headers);
}

fn add_vary(headers: &mut HeaderMap) {
    let value = match headers.get(header::VARY).and_then(|value| value.to_str().ok()) {
        None => HeaderValue::from_static(VARY),
        Some(before) => HeaderValue::from_str(&format!("{before}, {VARY}"))
            .expect("header names separated by commas are a header value"),
    };
    headers.insert(header::VARY, value);
}

/// Keeps browsers from guessing another content type than the declared one.
fn add_nosniff(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Completes an answer, after CORS.
fn finish(mut answer: ServiceResponse) -> ServiceResponse {
    add_nosniff(answer.headers_mut());
    if answer.request().version() == Version::HTTP_10 {
        // HTTP/1.0 has no chunked encoding (RFC 9112, section 6.1): the connection's end is the
        // body's.
        let head = answer.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    answer
}
