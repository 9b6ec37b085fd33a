//! `GET /ws` and `GET /subscribe/{topic}`: sockets, message by message.

mod messages;
mod ends;
mod handshake;
mod slow;
mod subscribe;
mod records;
