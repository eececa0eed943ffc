//! What we know of other routers' behaviour, and the choice of hops.

mod candidates;
pub mod guards;
pub mod profile;
pub mod reach;
pub mod select;

pub use candidates::{Candidate, Candidates};
pub use guards::Guards;
pub use profile::Profiles;
pub use reach::Reach;
pub use select::{Selection, SelfView, Terms};
