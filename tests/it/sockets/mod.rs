//! `GET /ws` and `GET /subscribe/{topic}`: sockets, message by message.

mod asks;
mod ends;
mod handshake;
mod slow;
mod subscribe;
mod told;
