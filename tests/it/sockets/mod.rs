//! `GET /ws` and `GET /subscribe/{topic}`: sockets, message by message.

mod handshake;
mod lifecycle;
mod messages;
mod records;
mod slow_readers;
mod subscribe;
