//! One test an abuse; the attack is in its comment.

mod bodies;
mod connections;
mod names;
mod pages;
mod privacy;
mod sockets;
