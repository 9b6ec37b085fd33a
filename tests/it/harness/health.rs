//! `/health`, and waiting for what it reports.

use serde_json::Value;

use crate::harness::wait::wait_until;
use crate::harness::wire::Client;

impl Client {
    /// The health document.
    #[track_caller]
    pub fn health(self) -> Value {
        self.get("/health").expect(200).json()
    }

    /// The number of open streams, sockets and waiting requests.
    #[track_caller]
    pub fn streams(self) -> u64 {
        self.health()["streams"].as_u64().expect("a number")
    }

    /// Waits until exactly `count` streams are open.
    #[track_caller]
    pub fn wait_for_streams(self, count: u64) {
        wait_until(&format!("{count} open streams"), || self.streams() == count);
    }

    /// Waits until ids can be looked up, which is shortly after a start.
    #[track_caller]
    pub fn wait_for_ids(self) {
        wait_until("ids are readable", || self.health()["projection"]["ids_readable"] == true);
    }

    /// Waits until the history holds the whole log.
    #[track_caller]
    pub fn wait_for_history(self) {
        wait_until("the history is complete", || {
            let health = self.health();
            let projection = &health["projection"];
            projection["seq"] == health["seq"] && projection["ids_readable"] == true
        });
    }
}
