//! The one switch that ends acknowledging for good.

use std::sync::Arc;

use tokio::sync::watch;

use crate::order::admission::Admission;

/// Whether the log can be relied on; it only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Proposals are appended, unless the appender has ended.
    Sound,
    /// The log cannot be relied on: nothing is acknowledged any more.
    Refusing,
    /// As [`Stage::Refusing`], and the process should end.
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct StopState {
    stage: Stage,
    /// The appending thread has closed the log, or panicked.
    appender_ended: bool,
}

/// Ends acknowledging after a failed write or sync, a hung disk or damage. Clones share it.
#[derive(Clone, Debug)]
pub struct FailStop {
    admission: Admission,
    state: Arc<watch::Sender<StopState>>,
}

impl FailStop {
    /// For the order that admits by `admission`.
    #[must_use]
    pub fn new(admission: Admission) -> Self {
        let state = StopState { stage: Stage::Sound, appender_ended: false };
        Self { admission, state: Arc::new(watch::Sender::new(state)) }
    }

    /// The bound that the order admits by.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Refuses every proposal from now on, including those of callers that wait in line for room:
    /// an append that hangs frees none.
    pub fn refuse(&self) {
        self.raise(Stage::Refusing);
    }

    /// As [`FailStop::refuse`], and has the process end.
    pub fn fail(&self) {
        self.raise(Stage::Failed);
    }

    /// Called once, when the appending thread is gone. If it panicked, the log cannot be relied on.
    pub fn appender_ended(&self, panicked: bool) {
        if panicked {
            self.fail();
        }
        self.state.send_modify(|state| state.appender_ended = true);
    }

    /// Whether nothing is acknowledged any more because the log cannot be relied on. Costs one
    /// relaxed load.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.admission.has_failed()
    }

    /// Whether the log can be relied on.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.state.borrow().stage
    }

    /// Whether proposals are still appended.
    #[must_use]
    pub fn is_appending(&self) -> bool {
        let state = *self.state.borrow();
        state.stage == Stage::Sound && !state.appender_ended
    }

    /// Resolves when the process should end because of a failure.
    pub async fn failed(&self) {
        // It cannot fail: the sender is in `self`.
        let _ = self.state.subscribe().wait_for(|state| state.stage == Stage::Failed).await;
    }

    /// Resolves when the appending thread is gone.
    pub async fn appender_gone(&self) {
        let _ = self.state.subscribe().wait_for(|state| state.appender_ended).await;
    }

    fn raise(&self, stage: Stage) {
        self.admission.fail();
        self.state.send_if_modified(|state| {
            let rises = state.stage < stage;
            state.stage = state.stage.max(stage);
            rises
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn fail_stop() -> FailStop {
        FailStop::new(Admission::new(1 << 20))
    }

    #[test]
    fn damage_found_after_a_clean_end_is_still_a_failure() {
        let fail_stop = fail_stop();
        assert!(fail_stop.is_appending() && fail_stop.appender_gone().now_or_never().is_none());
        fail_stop.appender_ended(false);
        assert!(!fail_stop.is_appending() && fail_stop.stage() == Stage::Sound);
        assert!(fail_stop.appender_gone().now_or_never().is_some());
        assert!(fail_stop.failed().now_or_never().is_none());
        fail_stop.refuse();
        assert_eq!(fail_stop.stage(), Stage::Refusing);
        assert!(fail_stop.is_refusing() && fail_stop.failed().now_or_never().is_none());
    }

    #[test]
    fn a_failure_is_final() {
        let fail_stop = fail_stop();
        fail_stop.fail();
        fail_stop.refuse();
        fail_stop.appender_ended(false);
        assert_eq!(fail_stop.stage(), Stage::Failed);
        assert!(fail_stop.failed().now_or_never().is_some());
    }

    #[test]
    fn a_panic_of_the_appender_is_a_failure() {
        let fail_stop = fail_stop();
        fail_stop.appender_ended(true);
        assert_eq!(fail_stop.stage(), Stage::Failed);
    }
}
