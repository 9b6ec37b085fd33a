//! The publishers: connections that have at most one value in flight each, and share the thread and
//! the poll of the subscribers.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use broker_tools::Result;
use mio::net::TcpStream;

use crate::plan::{EVENT, Pace};
use crate::protocol::ServerKind;
use crate::socket;
use crate::subscribers::{OTHER_TOKENS_FROM, Subscribers};
use crate::target::Target;
use crate::value::{self, Stamp, now};

/// Their own source addresses follow those of the subscribers.
const ADDRESSES_FROM: usize = 15_000;

/// The connections, and what was sent over them.
pub struct Publishers {
    kind: ServerKind,
    address: SocketAddr,
    /// A slot for each connection.
    slots: Vec<Option<Publisher>>,
    /// Number of values that were sent.
    pub sent: u32,
    /// The sum of their numbers.
    pub sum: u64,
    /// Number of values that are not acknowledged.
    pub waiting: usize,
    /// Microseconds from each value to its acknowledgement.
    pub answers_us: Vec<u32>,
}

struct Publisher {
    stream: TcpStream,
    /// When its value was sent, if it waits for an answer.
    sent_at: Option<u64>,
    answer: Vec<u8>,
}

impl Publishers {
    /// Publishers that are not connected yet.
    pub fn new(target: &Target, pace: Pace) -> Self {
        let count = match pace {
            Pace::InFlight(count) => count,
            // Enough that one which waits for its answer does not delay the next.
            Pace::PerSecond(_) => 8,
        };
        Self {
            kind: target.kind,
            address: target.address(),
            slots: (0..count).map(|_| None).collect(),
            sent: 0,
            sum: 0,
            waiting: 0,
            answers_us: Vec::new(),
        }
    }

    /// The number of the next value.
    pub fn next(&self) -> u32 {
        self.sent + 1
    }

    /// Sends a value over a free connection, or over a new one. Returns whether there was one.
    pub fn send(&mut self, subscribers: &Subscribers) -> Result<bool> {
        let is_free = |slot: &Option<Publisher>| slot.as_ref().is_none_or(|s| s.sent_at.is_none());
        // The first free one, so that none is idle until the server closes it.
        let Some(index) = self.slots.iter().position(is_free) else { return Ok(false) };
        let number = self.next();
        let publisher = match &mut self.slots[index] {
            Some(publisher) => publisher,
            slot => slot.insert(Publisher::connect(subscribers, self.address, index)?),
        };
        let at = now();
        let value = value::value(Stamp { at, number });
        let request = self.kind.publish(EVENT, &value);
        // Far smaller than the socket's buffer, so one write takes all of it.
        if publisher.stream.write(&request)? < request.len() {
            return Err("a value was only partly written".into());
        }
        publisher.sent_at = Some(at);
        self.sent = number;
        self.sum += u64::from(number);
        self.waiting += 1;
        Ok(true)
    }

    /// Reads the answers that the subscribers' last poll reported.
    pub fn take(&mut self, subscribers: &Subscribers) -> Result<()> {
        for token in &subscribers.other_tokens {
            let slot = &mut self.slots[token - OTHER_TOKENS_FROM];
            let Some(publisher) = slot else { continue };
            let mut buffer = [0; 4096];
            match publisher.stream.read(&mut buffer) {
                Ok(0) if publisher.sent_at.is_none() => {
                    *slot = None;
                    continue;
                }
                Ok(0) => return Err("the server closed a publisher's connection".into()),
                Ok(read) => publisher.answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if self.kind.is_acknowledged(&publisher.answer)? {
                publisher.answer.clear();
                let sent_at = publisher.sent_at.take().ok_or("an answer without a request")?;
                self.answers_us.push((now().saturating_sub(sent_at) / 1_000) as u32);
                self.waiting -= 1;
            }
        }
        Ok(())
    }
}

impl Publisher {
    fn connect(subscribers: &Subscribers, address: SocketAddr, index: usize) -> Result<Self> {
        let mut stream = TcpStream::from_std(socket::connect(address, ADDRESSES_FROM + index)?);
        subscribers.register(&mut stream, OTHER_TOKENS_FROM + index)?;
        Ok(Self { stream, sent_at: None, answer: Vec::new() })
    }
}
