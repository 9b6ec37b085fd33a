//! One test an abuse; the attack is in its comment.

mod bodies;
mod connections;
mod cross_site;
mod names;
mod privacy;
mod sockets;
