//! The table of registrations; callers pass the time.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::record::{Seq, User};
use crate::relay::topics::Topics;

/// Limits on registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Maximum number of registrations, connected or not. One takes some 300 bytes and its filters,
    /// 35 KiB at most: 100 filters of 255 bytes, with the overhead of a map and a parsed filter.
    pub registrations_max: NonZeroUsize,
    /// How long a registration without a connection is kept.
    pub disconnected_max: Duration,
}

/// The limit of registrations is reached; some may expire soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are {registrations_max} registrations already")]
pub struct RelayFull {
    /// The limit.
    pub registrations_max: NonZeroUsize,
}

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The registration was removed.
    Forgotten,
    /// Another connection took over the registration.
    TakenOver,
}

/// The registrations, by id.
pub(super) struct Table {
    limits: RelayLimits,
    registrations: HashMap<Uuid, Registration>,
    /// When each registration without a connection expires, the soonest first.
    expiries: BTreeSet<(Instant, Uuid)>,
    last_generation: u64,
}

struct Registration {
    user: User,
    topics: Topics,
    /// The position of the latest connection. Each connection has its own, so that one that was
    /// taken over and does not know it yet cannot move the next.
    position: Arc<AtomicU64>,
    state: RegistrationState,
}

enum RegistrationState {
    Disconnected { expires: Instant },
    Connected { generation: u64, end: oneshot::Sender<EndReason> },
}

/// The parts of a new connection.
pub(super) struct TakenRegistration {
    pub generation: u64,
    pub user: User,
    pub topics: Topics,
    pub position: Arc<AtomicU64>,
    pub ending: oneshot::Receiver<EndReason>,
}

impl Table {
    pub fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            registrations: HashMap::new(),
            expiries: BTreeSet::new(),
            last_generation: 0,
        }
    }

    pub fn add(
        &mut self,
        id: Uuid,
        (user, topics, position): (User, Topics, Seq),
        now: Instant,
    ) -> Result<(), RelayFull> {
        self.expire(now);
        let RelayLimits { registrations_max, disconnected_max } = self.limits;
        if self.registrations.len() >= registrations_max.get() {
            return Err(RelayFull { registrations_max });
        }
        let expires = now + disconnected_max;
        let position = Arc::new(AtomicU64::new(position));
        let state = RegistrationState::Disconnected { expires };
        self.registrations.insert(id, Registration { user, topics, position, state });
        self.expiries.insert((expires, id));
        Ok(())
    }

    pub fn user(&mut self, id: Uuid, now: Instant) -> Option<User> {
        self.expire(now);
        self.registrations.get(&id).map(|registration| registration.user.clone())
    }

    pub fn connect(&mut self, id: Uuid, now: Instant) -> Option<TakenRegistration> {
        self.expire(now);
        let registration = self.registrations.get_mut(&id)?;
        self.last_generation += 1;
        let generation = self.last_generation;
        let (end, ending) = oneshot::channel();
        match std::mem::replace(
            &mut registration.state,
            RegistrationState::Connected { generation, end },
        ) {
            RegistrationState::Disconnected { expires } => {
                self.expiries.remove(&(expires, id));
            }
            // The receiver may be gone already.
            RegistrationState::Connected { end, .. } => drop(end.send(EndReason::TakenOver)),
        }
        let position = registration.position.load(Ordering::Relaxed);
        registration.position = Arc::new(AtomicU64::new(position));
        Some(TakenRegistration {
            generation,
            user: registration.user.clone(),
            topics: registration.topics.clone(),
            position: registration.position.clone(),
            ending,
        })
    }

    /// Changes the topics, if the connection is the latest.
    pub fn change(&mut self, id: Uuid, generation: u64, topics: Topics) {
        if let Some(registration) = self.connected_mut(id, generation) {
            registration.topics = topics;
        }
    }

    /// Disconnects, if the connection is the latest; the registration then waits for its client.
    pub fn leave(&mut self, id: Uuid, generation: u64, now: Instant) {
        self.expire(now);
        let expires = now + self.limits.disconnected_max;
        if let Some(registration) = self.connected_mut(id, generation) {
            registration.state = RegistrationState::Disconnected { expires };
            self.expiries.insert((expires, id));
        }
    }

    pub fn forget(&mut self, id: Uuid, now: Instant) -> bool {
        self.expire(now);
        let Some(registration) = self.registrations.remove(&id) else { return false };
        match registration.state {
            RegistrationState::Disconnected { expires } => {
                self.expiries.remove(&(expires, id));
            }
            // The receiver may be gone already.
            RegistrationState::Connected { end, .. } => drop(end.send(EndReason::Forgotten)),
        }
        true
    }

    pub fn len(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.registrations.len()
    }

    fn connected_mut(&mut self, id: Uuid, generation: u64) -> Option<&mut Registration> {
        let registration = self.registrations.get_mut(&id)?;
        let is_latest = matches!(
            registration.state,
            RegistrationState::Connected { generation: latest, .. } if latest == generation
        );
        is_latest.then_some(registration)
    }

    /// Removes expired registrations; amortised, each registration costs this once.
    fn expire(&mut self, now: Instant) {
        while let Some((expires, id)) = self.expiries.first().copied()
            && expires <= now
        {
            self.expiries.remove(&(expires, id));
            self.registrations.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FilterSet;

    const DISCONNECTED_MAX: Duration = Duration::from_secs(60);

    fn no_topics() -> Topics {
        Topics::after(7, FilterSet::nothing())
    }

    struct TableWorld {
        table: Table,
        now: Instant,
    }

    impl TableWorld {
        fn with_room_for(registrations_max: usize) -> Self {
            let registrations_max = NonZeroUsize::new(registrations_max).expect("a limit above 0");
            let limits = RelayLimits { registrations_max, disconnected_max: DISCONNECTED_MAX };
            Self { table: Table::new(limits), now: Instant::now() }
        }

        fn register(&mut self) -> Result<Uuid, RelayFull> {
            let id = Uuid::new_v4();
            let user = User::parse("ann").expect("a user");
            self.table.add(id, (user, no_topics(), 7), self.now).map(|()| id)
        }

        fn connect(&mut self, id: Uuid) -> Option<TakenRegistration> {
            self.table.connect(id, self.now)
        }

        fn leave(&mut self, id: Uuid, generation: u64) {
            self.table.leave(id, generation, self.now);
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn len(&mut self) -> usize {
            self.table.len(self.now)
        }
    }

    #[test]
    fn registration_that_never_connects_expires() {
        let mut world = TableWorld::with_room_for(10);
        let id = world.register().expect("below the limit");
        world.pass(59);
        assert_eq!(world.len(), 1);
        world.pass(1);
        assert!(world.connect(id).is_none());
        assert_eq!(world.len(), 0);
        assert!(!world.table.forget(id, world.now));
    }

    #[test]
    fn connected_registration_does_not_expire_and_a_disconnected_one_does() {
        let mut world = TableWorld::with_room_for(10);
        let id = world.register().expect("below the limit");
        let first = world.connect(id).expect("registered");
        world.pass(1_000);
        world.leave(id, first.generation);
        world.pass(59);
        let second = world.connect(id).expect("not expired");
        world.pass(1_000);
        world.leave(id, second.generation);
        world.pass(60);
        assert!(world.connect(id).is_none());
        assert!(world.table.expiries.is_empty());
    }

    #[test]
    fn limit_refuses_registrations_and_expiry_makes_room() {
        let mut world = TableWorld::with_room_for(2);
        let first = world.register().expect("below the limit");
        world.register().expect("below the limit");
        assert_eq!(
            world.register(),
            Err(RelayFull { registrations_max: world.table.limits.registrations_max })
        );
        let taken = world.connect(first).expect("registered");
        world.pass(60);
        world.register().expect("the other one has expired");
        assert!(world.register().is_err());
        drop(taken);
        assert!(world.table.forget(first, world.now));
        world.register().expect("one was forgotten");
    }

    #[test]
    fn new_connection_takes_over_at_the_position_of_the_old_one() {
        let mut world = TableWorld::with_room_for(1);
        let id = world.register().expect("below the limit");
        let mut first = world.connect(id).expect("registered");
        first.position.store(20, Ordering::Relaxed);
        let mut second = world.connect(id).expect("registered");
        assert_eq!(first.ending.try_recv(), Ok(EndReason::TakenOver));
        // The old connection does not know it yet, and changes nothing.
        first.position.store(30, Ordering::Relaxed);
        world.table.change(id, first.generation, Topics::after(0, FilterSet::everything()));
        world.leave(id, first.generation);
        assert_eq!(second.position.load(Ordering::Relaxed), 20);
        world.pass(1_000);
        let third = world.connect(id).expect("the end of the old connection disconnected nothing");
        assert_eq!(second.ending.try_recv(), Ok(EndReason::TakenOver));
        assert_eq!((third.position.load(Ordering::Relaxed), third.topics), (20, no_topics()));
    }

    #[test]
    fn reconnecting_client_keeps_its_topics_and_position() {
        let mut world = TableWorld::with_room_for(1);
        let id = world.register().expect("below the limit");
        let first = world.connect(id).expect("registered");
        assert_eq!(first.position.load(Ordering::Relaxed), 7);
        let topics = Topics::after(9, FilterSet::everything());
        world.table.change(id, first.generation, topics.clone());
        first.position.store(12, Ordering::Relaxed);
        world.leave(id, first.generation);
        let second = world.connect(id).expect("not expired");
        assert_eq!((second.position.load(Ordering::Relaxed), second.topics), (12, topics));
    }

    #[test]
    fn forgetting_a_registration_ends_its_connection() {
        let mut world = TableWorld::with_room_for(1);
        let id = world.register().expect("below the limit");
        let mut taken = world.connect(id).expect("registered");
        assert!(world.table.forget(id, world.now));
        assert_eq!(taken.ending.try_recv(), Ok(EndReason::Forgotten));
        world.leave(id, taken.generation);
        assert!(world.connect(id).is_none());
        assert!(!world.table.forget(id, world.now));
        assert_eq!((world.len(), world.table.expiries.len()), (0, 0));
    }
}
