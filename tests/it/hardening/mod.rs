//! One test an abuse; the attack is in its comment.

mod bodies;
mod connections;
mod names;
mod cross_site;
mod privacy;
mod sockets;
