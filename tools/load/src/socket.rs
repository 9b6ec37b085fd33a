//! Sockets from many addresses, as of ten thousand browsers: one address of 127.0.0.0/8 each.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use broker_tools::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect as reach, socket_with};

/// Connects from the address of the subscriber with this index. The call blocks, which takes no
/// time on loopback; the returned socket does not block.
pub fn connect(address: SocketAddr, index: usize) -> Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(source(index), 0))?;
    reach(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// 127.1.0.1 and following; no octet exceeds 250.
fn source(index: usize) -> Ipv4Addr {
    let (high, low) = (index / 250, index % 250);
    Ipv4Addr::new(127, 1 + (high / 250) as u8, (high % 250) as u8, 1 + low as u8)
}
