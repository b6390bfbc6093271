//! The way to the instances: picking one, a connection to it, the tries, and what is known of its health.

pub(crate) mod connections;
pub(crate) mod forward;
pub(crate) mod health;
pub(crate) mod instance;

use std::rc::Rc;

use crate::completion::Place;
use crate::engine::Connection;
use crate::worker::Worker;

/// A connection to an instance while a request uses it. Dropped, it closes the connection and gives its place in the
/// connection limit back; so no path through the pipeline can leak one.
pub(crate) struct Lease {
    worker: Rc<Worker>,
    place: Place,
    connection: Option<Connection>,
}

impl Lease {
    /// Takes over a connection that is counted in the worker's pool.
    pub(crate) fn new(worker: Rc<Worker>, place: Place, connection: Connection) -> Self {
        Self { worker, place, connection: Some(connection) }
    }

    /// The connection.
    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// The answer is over: the connection can carry another request.
    pub(crate) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.worker.put_connection(self.place, connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connection.take().is_some() {
            self.worker.forget_connection(self.place);
        }
    }
}
