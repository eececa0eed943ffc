//! For measurements alone, where the build says `--cfg ramson_lab`: a router that does and says what it should not.

use super::Router;
use crate::own_info::Claims;

impl Router {
    /// The share of tunnel messages that are lost here where foreign outbound tunnels end.
    pub fn set_loss(&mut self, share: f64) {
        self.tunnels.set_loss(share);
    }

    /// What our RouterInfo says wrongly from now on.
    pub fn set_claims(&mut self, claims: Claims) {
        if self.own.claims != claims {
            self.own.claims = claims;
            self.claim_congestion();
            self.sign_own_info();
        }
    }

    /// How many requests with 528-byte records were accepted.
    pub fn long_requests(&self) -> u64 {
        self.tunnels.long_requests()
    }

    pub(super) fn claim_congestion(&mut self) {
        self.own.congestion = self.own.claims.congestion.unwrap_or(self.own.congestion);
    }
}
