//! The kernel's events, as they come.

use crate::error::Error;
use crate::event::Event;
use aya::maps::{MapData, RingBuf};
use std::fmt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The events of the loaded programs. What is not taken in time is lost and counted in the kernel.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Result<Self, Error> {
        tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        // SAFETY: the ring owns its map's descriptor and always names that one; it is open until the ring is
        // dropped, and the ring is owned by the `AsyncFd` for as long as that lives.
        #[allow(unsafe_code)]
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(|refused| Error::io("cannot wait for events")(refused.into_parts().1))?;
        Ok(Self { ring })
    }

    /// The next event. Dropping the future loses none.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.take() {
                return Ok(event);
            }
            let mut ready = self.ring.readable_mut().await.map_err(Error::io("cannot wait for events"))?;
            // Cleared before the ring is looked at again: what comes in between makes it ready once more.
            ready.clear_ready();
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
        None
    }
}
