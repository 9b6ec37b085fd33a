//! Registrations of the message relay.
//!
//! **Owns** the registrations, in memory: each has a random id, a user, topics, and the position
//! up to which its messages were delivered.
//!
//! **Promises** that an id has 122 random bits, because anyone who knows it acts as the user; that
//! a registration has one connection at a time, the latest; that a client that reconnects in time
//! continues where its last connection ended; that there are never more registrations than the
//! limit; and that a registration without a connection expires.
//!
//! **Does not** know HTTP or sockets, send anything, or run a timer: each call first removes the
//! registrations that have expired.

mod table;
mod topics;

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;
use uuid::Uuid;

pub use table::{EndReason, RelayFull, RelayLimits};
pub use topics::Topics;

use crate::record::{Seq, User};
use crate::relay::table::Table;

/// All registrations; clones share them.
#[derive(Clone)]
pub struct Relay(Arc<Mutex<Table>>);

/// The connection of a registration. Dropping it disconnects: the registration then waits for its
/// client until it expires.
pub struct Connection {
    relay: Relay,
    id: Uuid,
    /// Distinguishes this connection from earlier and later ones of the registration.
    generation: u64,
    user: User,
    topics: Topics,
    /// Everything up to here was delivered. Each connection has its own.
    position: Arc<AtomicU64>,
}

/// Completes when a connection must end.
#[derive(Debug)]
pub struct EndSignal(oneshot::Receiver<EndReason>);

impl Relay {
    /// A relay without registrations.
    #[must_use]
    pub fn new(limits: RelayLimits) -> Self {
        Self(Arc::new(Mutex::new(Table::new(limits))))
    }

    /// Registers a client, whose first connection starts after `position`; returns the id.
    ///
    /// # Errors
    /// [`RelayFull`] while the limit of registrations is reached.
    pub fn register(&self, user: User, topics: Topics, position: Seq) -> Result<Uuid, RelayFull> {
        let id = Uuid::new_v4();
        self.lock().add(id, (user, topics, position), Instant::now())?;
        Ok(id)
    }

    /// The user of a registration; `None` if there is none with this id.
    #[must_use]
    pub fn user(&self, id: Uuid) -> Option<User> {
        self.lock().user(id, Instant::now())
    }

    /// Connects to a registration and ends its previous connection; `None` if there is none with
    /// this id. The signal completes when the new connection must end.
    #[must_use]
    pub fn connect(&self, id: Uuid) -> Option<(Connection, EndSignal)> {
        let taken = self.lock().connect(id, Instant::now())?;
        let connection = Connection {
            relay: self.clone(),
            id,
            generation: taken.generation,
            user: taken.user,
            topics: taken.topics,
            position: taken.position,
        };
        Some((connection, EndSignal(taken.ending)))
    }

    /// Removes a registration and ends its connection; false if there is none with this id.
    #[must_use]
    pub fn forget(&self, id: Uuid) -> bool {
        self.lock().forget(id, Instant::now())
    }

    /// Number of registrations, connected or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The registered user.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The topics whose messages it gets.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Everything up to here was delivered.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position.load(Ordering::Relaxed)
    }

    /// Records that everything up to `position` was delivered.
    pub fn set_position(&self, position: Seq) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Changes the topics, for this connection and those after it.
    pub fn change(&mut self, topics: Topics) {
        self.topics = topics.clone();
        self.relay.lock().change(self.id, self.generation, topics);
    }
}

impl Future for EndSignal {
    type Output = EndReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EndReason> {
        // An error means that the sender was dropped with the table.
        Pin::new(&mut self.0).poll(cx).map(|reason| reason.unwrap_or(EndReason::Forgotten))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.relay.lock().leave(self.id, self.generation, Instant::now());
    }
}

/// Omits ids, which are secrets.
impl fmt::Debug for Relay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Relay").field("registrations", &self.len()).finish()
    }
}

/// Omits the id, which is a secret.
impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").field("generation", &self.generation).finish_non_exhaustive()
    }
}
