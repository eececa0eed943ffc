//! What a gateway of the local network says that it forwards to us.

use super::{Mapped, Router};

impl Router {
    /// Its word on our address is one vote, as that of a peer is; whether others reach us there is shown by tests alone.
    pub(super) fn handle_mapped(&mut self, mapped: Option<Mapped>) {
        self.mapped = mapped;
        if let Some(Mapped { gateway, udp: Some(udp), .. }) = mapped {
            self.reach.handle_seen(self.now, gateway, udp);
        }
    }
}
