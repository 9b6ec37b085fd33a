//! One test per abuse; the doc comment names the attack.

mod bodies;
mod connections;
mod cross_site;
mod names;
mod privacy;
mod sockets;
