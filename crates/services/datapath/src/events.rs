//! The kernel's events, as they come.

use crate::error::Error;
use crate::event::Event;
use aya::maps::{MapData, RingBuf};
use std::fmt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// The events of the loaded programs, and of connections that were swept. What is not taken in time is lost and counted in the kernel.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    swept: mpsc::Receiver<Event>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(ring: RingBuf<MapData>, swept: mpsc::Receiver<Event>) -> Result<Self, Error> {
        tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        // SAFETY: the ring owns its map's descriptor and always names that one; it is open until the ring is
        // dropped, and the ring is owned by the `AsyncFd` for as long as that lives.
        #[allow(unsafe_code)]
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(|refused| Error::io("cannot wait for events")(refused.into_parts().1))?;
        Ok(Self { ring, swept })
    }

    /// The next event. Dropping the future loses none.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.take() {
                return Ok(event);
            }
            tokio::select! {
                ready = self.ring.readable_mut() => {
                    // Cleared before the ring is looked at again: what comes in between makes it ready once more.
                    ready.map_err(Error::io("cannot wait for events"))?.clear_ready();
                }
                Some(event) = self.swept.recv() => return Ok(event),
            }
        }
    }

    /// An event that is there already.
    pub fn take(&mut self) -> Option<Event> {
        while let Some(item) = self.ring.get_mut().next() {
            match Event::decode(&item) {
                Ok(event) => return Some(event),
                Err(error) => tracing::error!(%error, "an event of the kernel cannot be read"),
            }
        }
        self.swept.try_recv().ok()
    }
}
