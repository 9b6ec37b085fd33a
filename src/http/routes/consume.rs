//! `GET /consume/{topic}`: hands out the records of a topic one by one.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::broker::ConsumeFrom;
use crate::http::codec::paths::event_in_path;
use crate::http::codec::query::{Query, malformed};
use crate::http::codec::schemas::{ProblemBody, RecordBody};
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::record::{Consumer, Name};

/// Maximum time that a request may wait for a record; many proxies give up after about that.
const WAIT_SECONDS_MAX: u64 = 60;

/// The oldest record of a topic after a version, or that a consumer has not acknowledged.
#[utoipa::path(
    get, path = "/consume/{topic}", tag = "topics",
    params(
        ("topic" = String, Path, description = "The topic, which is the event's name, \
            percent-encoded"),
        ("after" = Option<u64>, Query, description = "A version: the oldest record after it; 0 is \
            the default"),
        ("consumer" = Option<String>, Query, description = "Instead of `after`: whose position is \
            kept; at most 100 bytes, without `.`"),
        ("ack" = Option<u64>, Query, description = "Of a consumer: everything through this version \
            is acknowledged, on stable storage, before the answer"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for a record, at most 60"),
    ),
    responses(
        (status = 200, description = "The record", body = RecordBody),
        (status = 204, description = "There is none"),
        (status = 400, description = "A parameter cannot be understood", body = ProblemBody),
        (status = 409, description = "Another request of this consumer waits", body = ProblemBody),
        (status = 422, description = "The version to acknowledge does not exist",
            body = ProblemBody),
        (status = 429, description = "Too many streams of this address, with `wait`",
            body = ProblemBody),
        (status = 503, description = "The history is catching up, too many wait, or shutting down",
            body = ProblemBody),
        (status = 507, description = "The disk, or too many consumers", body = ProblemBody),
    )
)]
pub async fn consume(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let broker = &state.broker;
    let topic = event_in_path(&request, 0)?;
    let query = Query::parse(request.query_string(), &["after", "consumer", "ack", "wait"])?;
    let from = parse_from(&query, &topic)?;
    let wait = parse_wait(&query)?;
    let consumption = broker.consume(topic, from, !wait.is_zero()).await?;
    let mut record = consumption.next().await?;
    if record.is_none() && !wait.is_zero() {
        // It holds a connection and a subscriber, as a stream does.
        let _slot = state.open_stream(&request, None)?;
        record = consumption.wait(wait).await?;
    }
    let Some(record) = record else {
        return Ok(HttpResponse::NoContent()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .finish());
    };
    broker.metrics().consumed.increment(1);
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(record.json().clone()))
}

pub fn parse_from(query: &Query<'_>, topic: &Name) -> Result<ConsumeFrom, Problem> {
    let after = query.parsed("after", "a version, as a number")?;
    let ack = query.parsed("ack", "a version, as a number")?;
    let Some(consumer) = query.one("consumer")? else {
        if ack.is_some() {
            let say = "ack is of a consumer: name it with consumer, or go on with after";
            return Err(malformed(say));
        }
        return Ok(ConsumeFrom::After(after.unwrap_or(0)));
    };
    if after.is_some() {
        let say = "a consumer has a position of its own: leave out after, or leave out consumer";
        return Err(malformed(say));
    }
    let consumer = Consumer::parse(topic.clone(), consumer);
    let consumer = consumer.map_err(|error| malformed(format!("consumer: {error}")))?;
    Ok(ConsumeFrom::Acknowledged { consumer, ack })
}

pub fn parse_wait(query: &Query<'_>) -> Result<Duration, Problem> {
    let seconds: u64 = query.parsed("wait", "a number of seconds")?.unwrap_or(0);
    if seconds > WAIT_SECONDS_MAX {
        return Err(malformed(format!("wait={seconds} is more than {WAIT_SECONDS_MAX} s")));
    }
    Ok(Duration::from_secs(seconds))
}
