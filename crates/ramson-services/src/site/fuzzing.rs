//! What must hold for any target of a request. The fuzz target and the test below look whether it does.

use super::path::Place;
use std::path::Component;

/// A target: it leads below the folder, or nowhere.
pub fn site_target(bytes: &[u8]) {
    let Some(place) = std::str::from_utf8(bytes).ok().and_then(Place::of) else { return };
    for part in place.path.components() {
        assert!(matches!(part, Component::Normal(_)), "{place:?} leads elsewhere");
        let name = part.as_os_str().to_str().unwrap_or_default();
        assert!(!name.is_empty() && (!name.starts_with('.') || name == ".well-known"), "{place:?}");
    }
    assert!(
        place.written.starts_with('/') && !place.written.starts_with("//"),
        "a redirect to {place:?} leads elsewhere"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_target_leads_below_the_folder_or_nowhere(
            target in "(http://[a-z.]{0,5})?(/|\\.|%2[eEfF]|%5c|%00|a|é|\\?|#|:){0,12}", bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            site_target(target.as_bytes());
            site_target(&bytes);
        }
    }
}
