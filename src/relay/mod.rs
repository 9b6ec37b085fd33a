//! Registrations of the message relay: who connects with which id, and what they get.
//!
//! **Owns** the registrations, in memory: each has a random id, a user, topics, and the position
//! up to which its messages were handed out.
//!
//! **Promises** that an id is 122 random bits, for whoever knows it is the user to the relay; that
//! one connection at a time has a registration, the newest; that a client that comes back within
//! the limit goes on where its last connection ended; that there are never more registrations than
//! the limit, and that one that nobody is connected with is forgotten after its time.
//!
//! **Does not** know HTTP or sockets, sends nothing, and runs no timer: what has expired is
//! forgotten by the next call, whichever it is.

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

pub use table::{RelayFull, RelayLimits};
pub use topics::Topics;

use crate::record::{Seq, User};
use crate::relay::table::Table;

/// All registrations; clones share them.
#[derive(Clone)]
pub struct Relay(Arc<Mutex<Table>>);

/// A registration that somebody is connected with; dropping it leaves the registration to who comes
/// back in time.
pub struct Connection {
    relay: Relay,
    id: Uuid,
    /// Tells this connection from those before and after it.
    generation: u64,
    user: User,
    topics: Topics,
    /// Everything up to here was handed out; this connection's alone.
    position: Arc<AtomicU64>,
}

/// Ready when a connection has to end.
#[derive(Debug)]
pub struct EndSignal(oneshot::Receiver<EndReason>);

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The registration was forgotten.
    Forgotten,
    /// Another connection took the registration over.
    TakenOver,
}

impl Relay {
    /// No registrations yet.
    #[must_use]
    pub fn new(limits: RelayLimits) -> Self {
        Self(Arc::new(Mutex::new(Table::new(limits))))
    }

    /// Registers a client, for messages after the topics' positions; answers its id.
    ///
    /// # Errors
    /// [`RelayFull`] while there are as many registrations as the limit.
    pub fn register(&self, user: User, topics: Topics, position: Seq) -> Result<Uuid, RelayFull> {
        let id = Uuid::new_v4();
        self.lock().add(id, (user, topics, position), Instant::now())?;
        Ok(id)
    }

    /// Whose registration it is, if there is such a one.
    #[must_use]
    pub fn user(&self, id: Uuid) -> Option<User> {
        self.lock().user(id, Instant::now())
    }

    /// Takes a registration over from whoever is connected with it, and what tells when to end;
    /// `None` when there is none.
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

    /// Forgets a registration and ends its connection; false when there is none.
    #[must_use]
    pub fn forget(&self, id: Uuid) -> bool {
        self.lock().forget(id, Instant::now())
    }

    /// How many registrations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Who it is.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// What it gets.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Everything up to here was handed out.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position.load(Ordering::Relaxed)
    }

    /// Notes that everything up to `position` was handed out.
    pub fn set_position(&self, position: Seq) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Changes what it gets, now and after it came back.
    pub fn change(&mut self, topics: Topics) {
        self.topics = topics.clone();
        self.relay.lock().change(self.id, self.generation, topics);
    }
}

impl Future for EndSignal {
    type Output = EndReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EndReason> {
        // Without a sender the table is gone, and the registration with it.
        Pin::new(&mut self.0).poll(cx).map(|reason| reason.unwrap_or(EndReason::Forgotten))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.relay.lock().leave(self.id, self.generation, Instant::now());
    }
}

/// Without ids: they are secrets.
impl fmt::Debug for Relay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Relay").field("registrations", &self.len()).finish()
    }
}

/// Without its id, which is a secret.
impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").field("generation", &self.generation).finish_non_exhaustive()
    }
}
