//! Those who publish: some connections, each with at most one value under way, in the crowd's own
//! thread and poll.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use broker_bench::Result;

use crate::crowd::{Crowd, OTHERS_FROM};
use crate::run::Plan;
use crate::socket;
use crate::speech::Kind;
use crate::target::Target;
use crate::value::{self, Stamp, now};

/// Source addresses of their own.
const ADDRESSES_FROM: usize = 15_000;

/// How fast they publish.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many values wait for their acknowledgement at any time.
    InFlight(usize),
    /// So many a second, whatever becomes of those before.
    PerSecond(f64),
}

/// The connections, and what was sent over them.
pub struct Senders {
    kind: Kind,
    event: String,
    value_bytes: usize,
    open: Vec<Sender>,
    /// Values that were sent.
    pub sent: u32,
    /// The sum of their numbers.
    pub sum: u64,
    /// Values that were sent and not answered.
    pub waiting: usize,
    /// Microseconds from a value to its answer.
    pub answers_us: Vec<u32>,
}

struct Sender {
    stream: TcpStream,
    /// Since when it waits.
    sent_at: Option<u64>,
    answer: Vec<u8>,
}

impl Senders {
    /// Connects them.
    pub fn connect(crowd: &Crowd, target: &Target, plan: &Plan<'_>) -> Result<Self> {
        let count = match plan.pace {
            Pace::InFlight(count) => count,
            // One that waits for its answer does not hold up the next.
            Pace::PerSecond(_) => 8,
        };
        let open = (0..count).map(|index| -> Result<Sender> {
            let stream = socket::connect(target.address(), ADDRESSES_FROM + index)?;
            let mut stream = TcpStream::from_std(stream);
            crowd.register(&mut stream, OTHERS_FROM + index)?;
            Ok(Sender { stream, sent_at: None, answer: Vec::new() })
        });
        Ok(Self {
            kind: target.kind,
            event: plan.event.to_owned(),
            value_bytes: plan.value_bytes,
            open: open.collect::<Result<_>>()?,
            sent: 0,
            sum: 0,
            waiting: 0,
            answers_us: Vec::new(),
        })
    }

    /// The number of the next value.
    pub fn next(&self) -> u32 {
        self.sent + 1
    }

    /// Sends a value over whichever connection is free; tells whether one was.
    pub fn send(&mut self) -> Result<bool> {
        let number = self.next();
        let Some(sender) = self.open.iter_mut().find(|sender| sender.sent_at.is_none()) else {
            return Ok(false);
        };
        let at = now();
        let value = value::value(Stamp { at, number }, self.value_bytes);
        let request = self.kind.publish(&self.event, &value);
        // Far smaller than a socket's buffer, so one write takes it whole.
        if sender.stream.write(&request)? < request.len() {
            return Err("a value was written in part".into());
        }
        sender.sent_at = Some(at);
        self.sent = number;
        self.sum += u64::from(number);
        self.waiting += 1;
        Ok(true)
    }

    /// Takes the answers that arrived in the crowd's last turn.
    pub fn take(&mut self, crowd: &Crowd) -> Result<()> {
        for token in &crowd.others {
            let sender = &mut self.open[token - OTHERS_FROM];
            let mut buffer = [0; 4096];
            match sender.stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed a publisher's connection".into()),
                Ok(read) => sender.answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if self.kind.is_published(&sender.answer)? {
                sender.answer.clear();
                let sent_at = sender.sent_at.take().ok_or("an answer to nothing")?;
                self.answers_us.push((now().saturating_sub(sent_at) / 1_000) as u32);
                self.waiting -= 1;
            }
        }
        Ok(())
    }
}
