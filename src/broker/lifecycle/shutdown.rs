//! The end: what is queued is appended, then everything closes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;
use tracing::error;

use crate::broker::Broker;
use crate::broker::lifecycle::worker::Worker;

impl Broker {
    /// Refuses inserts and ends subscriptions, appends what is queued, then closes the log and the
    /// projection.
    pub async fn shutdown(&self) {
        self.begin_shutdown();
        #[cfg(feature = "rabbitmq")]
        if let Some(bridge) = self.inner.bridge.get() {
            // It stores its position in the log.
            bridge.stop().await;
        }
        self.inner.order.stop();
        self.inner.fail_stop.appender_gone().await;
        self.close().await;
        self.inner.directory.lock().await.take();
    }

    /// Closes the projection and ends the workers.
    async fn close(&self) {
        let projection = self.inner.projection.clone();
        let workers = std::mem::take(&mut *self.inner.workers.lock().await);
        // On a thread that nobody has to wait for: a disk may hold a worker forever, and a runtime
        // waits for its own blocking threads.
        let (report, closed) = oneshot::channel();
        let workers = Arc::new(Mutex::new(workers));
        let on_thread = workers.clone();
        let close = move || {
            // Before the workers, one of which may hang.
            projection.close();
            drop(taken(&on_thread));
            // The shutdown may have been cut short meanwhile.
            let _ = report.send(());
        };
        if let Err(error) = thread::Builder::new().name("close".to_owned()).spawn(close) {
            error!(%error, "no thread could be started to end the others");
            taken(&workers).into_iter().for_each(Worker::leave);
        }
        if closed.await.is_err() {
            error!("the projection was not closed cleanly");
        }
    }

    /// After a shutdown that was cut short: leaves threads that a disk may hold forever. They end
    /// with the process, or when the disk lets them.
    pub(crate) async fn leave_workers(&self) {
        let workers = std::mem::take(&mut *self.inner.workers.lock().await);
        workers.into_iter().for_each(Worker::leave);
    }

    /// Ends subscriptions and refuses inserts; queued ones are still appended.
    pub(crate) fn begin_shutdown(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        self.inner.hub.close();
    }
}

fn taken(workers: &Mutex<Vec<Worker>>) -> Vec<Worker> {
    std::mem::take(&mut *workers.lock().unwrap_or_else(PoisonError::into_inner))
}
