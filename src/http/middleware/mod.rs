//! The middleware around all routes, the limits on streams, and the log of refusals.
//!
//! Owns what every request passes: CORS, the check of `Host`, the form and count of errors, and the
//! default headers. These are one layer, because each separate layer costs every request an
//! allocation and a pass over the headers.
//! Promises that a request without an `Origin`, which does not come from a page of another origin,
//! skips CORS except for the `Vary` that caches need.
//! Does not see inserts on connections of their own (`connection/insert.rs`), which make the same
//! checks themselves.

pub mod cors_host;
pub mod headers;
pub mod refusal_log;
pub mod refusals;
pub mod stream_limits;

use std::rc::Rc;

use actix_cors::Cors;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::{Method, header};
use actix_web::{Error, web};
use futures_util::future::{Either, LocalBoxFuture, ok};

use crate::http::middleware::headers::{add_vary, finish};
use crate::http::middleware::refusals::as_problem;
use crate::http::state::AppState;

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
                Ok(finish(as_problem(answer, &state)))
            });
        }
        let answer = self.without_cors.call(request);
        Box::pin(async move {
            let mut answer = as_problem(answer.await?, &state);
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
