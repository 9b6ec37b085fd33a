//! Sockets: `GET /ws` and `GET /subscribe/{topic}`.

mod handshake;
mod lifecycle;
mod messages;
mod records;
mod slow_readers;
mod subscribe;
