//! The floor: a server that does one `write` for each delivery. It has one thread and one poll,
//! knows no more HTTP than its clients need, and has no checks, queue or disk.

use std::io::{self, Read as _, Write as _};

use broker_tools::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const EVENTS_AT_ONCE: usize = 256;
const REQUEST_BYTES_MAX: usize = 64 << 10;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: held\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
/// As long as what Broker puts around a value: cursor, name, and the other members of the record.
const BEFORE: &[u8] = b"id:46f2790fd7178d57-100000-de2c9a771010fa4c\n\
    event:load.hot\ndata:{\"seq\":100000,\"event\":\"load.hot\",\"version\":100000,\
    \"id\":\"0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d\",\"timestamp\":\"2026-11-21T10:00:00.123Z\",\
    \"data\":";
const AFTER: &[u8] = b"}\n\n";

/// Serves until it is killed. Prints its address as `broker` does.
pub fn serve() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("listening on http://{}", listener.local_addr()?);
    // The same backlog as nginx and Redis have.
    rustix::net::listen(&listener, 511)?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_AT_ONCE);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = BareServer { clients: Vec::new(), subscribers: Vec::new() };
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener, &poll)?,
                Token(index) => server.read(index)?,
            }
        }
    }
}

struct BareServer {
    /// The connections by token; `None` for those that are gone.
    clients: Vec<Option<TcpStream>>,
    /// The tokens of subscribers.
    subscribers: Vec<usize>,
}

impl BareServer {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> Result<()> {
        loop {
            let (mut client, _) = match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            };
            client.set_nodelay(true)?;
            poll.registry().register(&mut client, Token(self.clients.len()), Interest::READABLE)?;
            self.clients.push(Some(client));
        }
    }

    /// Reads a request. Clients send it with one write, so one read gets all of it.
    fn read(&mut self, index: usize) -> Result<()> {
        let mut buffer = vec![0; REQUEST_BYTES_MAX];
        let Some(client) = &mut self.clients[index] else { return Ok(()) };
        let request = match client.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(0) | Err(_) => {
                self.subscribers.retain(|subscriber| *subscriber != index);
                self.clients[index] = None;
                return Ok(());
            }
            Ok(read) => &buffer[..read],
        };
        if request.starts_with(b"GET ") {
            self.subscribers.push(index);
            return write(client, HEAD);
        }
        let at = memchr::memmem::find(request, b"\r\n\r\n").ok_or("a request came in parts")?;
        let block = [BEFORE, &request[at + 4..], AFTER].concat();
        for subscriber in &self.subscribers {
            if let Some(client) = &mut self.clients[*subscriber] {
                write(client, &block)?;
            }
        }
        self.clients[index].as_mut().map_or(Ok(()), |client| write(client, PUBLISHED))
    }
}

/// Writes to a client. If it is gone, the next read notices that.
fn write(client: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    match client.write(bytes) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err("a subscriber does not keep up, which the floor does not support".into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error.into()),
        Err(_) => Ok(()),
    }
}
