//! `/consume/{topic}`: hands out the records of a topic one by one, and acknowledges them.

use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::broker::ConsumeFrom;
use crate::http::codec::body::read_json;
use crate::http::codec::json::{compact, member, object, present, text};
use crate::http::codec::paths::event_in_path;
use crate::http::codec::query::{Query, contains, malformed};
use crate::http::codec::schemas::{ProblemBody, RecordBody};
use crate::http::problem::{Code, Problem, method_not_allowed};
use crate::http::state::AppState;
use crate::record::{Consumer, Name};

/// The methods of the route. HEAD is not one of them: it could wait for a record, but not return
/// it.
pub const METHODS: &[Method] = &[Method::GET, Method::POST];

/// Maximum time that a request may wait for a record; many proxies give up after about that.
const WAIT_SECONDS_MAX: u64 = 60;

/// An acknowledgement by a consumer.
#[derive(Deserialize, ToSchema)]
#[schema(as = Acknowledgement)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeBody<'a> {
    /// The consumer's name: 1 to 100 bytes, without `.`
    #[serde(borrow)]
    #[schema(value_type = String, example = "mail")]
    consumer: &'a RawValue,
    /// Acknowledges every version up to and including this one
    #[serde(borrow)]
    #[schema(value_type = u64, example = 1)]
    ack: &'a RawValue,
    /// Seconds to wait for the next record, 0 to 60; 0 is the default
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<u64>, nullable = false, example = 60)]
    wait: Option<&'a RawValue>,
}

/// Returns the next record of a topic.
///
/// It is the oldest record after a version, or the oldest that a consumer has not acknowledged. The
/// request changes nothing: the same record is returned again until the consumer acknowledges it
/// with POST.
#[utoipa::path(
    get, path = "/consume/{topic}", tag = "topics",
    params(
        ("topic" = String, Path, description = "The topic: an event's name, percent-encoded"),
        ("after" = Option<u64>, Query, description = "Return the oldest record after this version; \
            0 is the default"),
        ("consumer" = Option<String>, Query, description = "Instead of `after`, a consumer's name: \
            1 to 100 bytes, without `.`. Return the oldest record that it has not acknowledged"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for a record, 0 to 60; 0 is \
            the default"),
    ),
    responses(
        (status = 200, description = "The record", body = RecordBody),
        (status = 204, description = "There is no such record yet"),
        (status = 400, description = "The topic or a parameter is not valid", body = ProblemBody),
        (status = 405, description = "The query has `ack`: acknowledge with POST",
            body = ProblemBody),
        (status = 409, description = "Another request of this consumer is waiting",
            body = ProblemBody),
        (status = 429, description = "Too many streams from this address; only with `wait`",
            body = ProblemBody),
        (status = 503, description = "The history is catching up, too many requests are waiting, \
            or the server is shutting down", body = ProblemBody),
        (status = 507, description = "The limit on consumers is reached", body = ProblemBody),
    )
)]
pub async fn consume(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let topic = event_in_path(&request, 0)?;
    if contains(request.query_string(), "ack") {
        let detail = "GET does not acknowledge: send POST /consume/{topic} with the JSON body \
                      {\"consumer\":\"…\",\"ack\":…}";
        return Ok(method_not_allowed(METHODS, detail));
    }
    let query = Query::parse(request.query_string(), &["after", "consumer", "wait"])?;
    let from = parse_from(&query, &topic)?;
    let wait = parse_wait(&query)?;
    next_record(&request, &state, topic, from, wait).await
}

/// Acknowledges records of a topic for a consumer, and returns the next one.
///
/// The acknowledgement is on stable storage before the answer is sent. It covers all versions up to
/// `ack` and never moves backwards, so a retry is safe.
#[utoipa::path(
    post, path = "/consume/{topic}", tag = "topics", request_body = AcknowledgeBody,
    params(("topic" = String, Path, description = "The topic: an event's name, percent-encoded")),
    responses(
        (status = 200, description = "Acknowledged: the next record", body = RecordBody),
        (status = 204, description = "Acknowledged; there is no further record yet"),
        (status = 400, description = "The body is not acceptable JSON (with line and column), the \
            topic is not valid, or there is a query", body = ProblemBody),
        (status = 408, description = "The body arrived too slowly", body = ProblemBody),
        (status = 409, description = "Another request of this consumer is waiting",
            body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "The body is not `application/json`", body = ProblemBody),
        (status = 422, description = "The acknowledgement is not valid, or its version does not \
            exist", body = ProblemBody),
        (status = 429, description = "Too many streams from this address; only with `wait`, and \
            after acknowledging", body = ProblemBody),
        (status = 503, description = "The server is overloaded or shutting down, or, after \
            acknowledging, the history is catching up or too many requests are waiting",
            body = ProblemBody),
        (status = 507, description = "The disk is full, or the limit on consumers is reached",
            body = ProblemBody),
    )
)]
pub async fn acknowledge(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let config = state.broker.config();
    let topic = event_in_path(&request, 0)?;
    Query::parse(request.query_string(), &[])?;
    let body = read_json(&request, payload, config).await?;
    let (from, wait) = parse_acknowledgement(&compact(&body, 1, config)?, &topic)
        .map_err(|detail| Problem::new(Code::InvalidAcknowledgement).detail(detail))?;
    next_record(&request, &state, topic, from, wait).await
}

async fn next_record(
    request: &HttpRequest,
    state: &AppState,
    topic: Name,
    from: ConsumeFrom,
    wait: Duration,
) -> Result<HttpResponse, Problem> {
    let consumption = state.broker.consume(topic, from, !wait.is_zero()).await?;
    let mut record = consumption.next().await?;
    if record.is_none() && !wait.is_zero() {
        // While it waits, it holds a connection and a subscriber, as a stream does.
        let _slot = state.open_stream(request, None)?;
        record = consumption.wait(wait).await?;
    }
    let Some(record) = record else {
        return Ok(HttpResponse::NoContent()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish());
    };
    state.broker.metrics().consumed.increment(1);
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(record.json().clone()))
}

pub fn parse_from(query: &Query<'_>, topic: &Name) -> Result<ConsumeFrom, Problem> {
    let after = query.parsed("after", "a version, as a number")?;
    let Some(consumer) = query.one("consumer")? else {
        return Ok(ConsumeFrom::After(after.unwrap_or(0)));
    };
    if after.is_some() {
        let detail = "a consumer has its own position: leave out after or consumer";
        return Err(malformed(detail));
    }
    let consumer = parse_consumer(topic, consumer).map_err(malformed)?;
    Ok(ConsumeFrom::Acknowledged { consumer, ack: None })
}

pub fn parse_wait(query: &Query<'_>) -> Result<Duration, Problem> {
    let seconds = query.parsed("wait", "a number of seconds")?.unwrap_or(0);
    wait_seconds(seconds).map_err(malformed)
}

/// Parses an acknowledgement from compact JSON.
pub fn parse_acknowledgement(json: &[u8], topic: &Name) -> Result<(ConsumeFrom, Duration), String> {
    let body: AcknowledgeBody<'_> = object(json, "an object with consumer and ack")?;
    let consumer = parse_consumer(topic, &text("consumer", body.consumer)?)?;
    let ack = Some(member("ack", body.ack)?);
    let wait = body.wait.map(|wait| member("wait", wait)).transpose()?;
    Ok((ConsumeFrom::Acknowledged { consumer, ack }, wait_seconds(wait.unwrap_or(0))?))
}

fn parse_consumer(topic: &Name, name: &str) -> Result<Consumer, String> {
    Consumer::parse(topic.clone(), name).map_err(|error| format!("consumer: {error}"))
}

fn wait_seconds(seconds: u64) -> Result<Duration, String> {
    if seconds > WAIT_SECONDS_MAX {
        return Err(format!("wait: send at most {WAIT_SECONDS_MAX} s, not {seconds}"));
    }
    Ok(Duration::from_secs(seconds))
}
