use super::*;

const START: Now = Now::new(Instant::ZERO, 1_790_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn peer(n: u64) -> Hash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    Hash(hash)
}

#[test]
fn bad_news_fades_and_good_news_clears() {
    let (a, b) = (peer(1), peer(2));
    let mut profiles = Profiles::default();
    profiles.note_declined(START, &a);
    profiles.note_unanswered(START, &b);
    assert!(profiles.is_doubtful(START.later(Duration::from_secs(599)), &a));
    assert!(!profiles.is_doubtful(START.later(Duration::from_secs(601)), &a));
    profiles.note_agreed(START, &b);
    assert!(!profiles.is_doubtful(START, &b));
}

#[test]
fn the_number_of_profiles_is_bounded() {
    let mut profiles = Profiles::default();
    let at = |n| START.later(Duration::from_secs(n));
    profiles.note_carried(START, &peer(0));
    for n in 1..limits::PROFILES as u64 + 10 {
        profiles.note_agreed(at(n), &peer(n));
    }
    assert_eq!((profiles.len(), profiles.by_age.len()), (limits::PROFILES, limits::PROFILES));
    assert!(profiles.get(&peer(1)).is_none(), "the quietest has made room");
    assert!(profiles.is_proven(&peer(0)), "one that is proven stays");
    // A crowd of proven ones is bounded as well.
    (0..limits::PROFILES as u64 + 10).for_each(|n| profiles.note_carried(at(20_000 + n), &peer(50_000 + n)));
    assert_eq!((profiles.len(), profiles.proven().len()), (limits::PROFILES, limits::PROFILES));
    for (place, hash) in profiles.proven.iter().enumerate() {
        assert_eq!(profiles.get(hash).unwrap().place, Some(place));
    }
}

#[test]
fn proof_fades() {
    let mut profiles = Profiles::default();
    (0..50).for_each(|n| profiles.note_carried(START, &peer(n)));
    (0..8).for_each(|_| profiles.note_carried(START, &peer(7)));
    profiles.fade(START.later(8 * HOUR));
    assert_eq!(profiles.proven().len(), 50);
    profiles.fade(START.later(24 * HOUR));
    assert_eq!(profiles.proven(), [peer(7)]);
    profiles.fade(START.later(24 * 30 * HOUR));
    assert!(profiles.proven().is_empty());
    profiles.fade(START);
    assert!(profiles.proven().is_empty(), "a clock that goes back brings nothing back");
}

/// Threats 1.6, 1.8: what a peer earns is bounded, and a peer is judged by what is said of all.
#[test]
fn tiers_are_by_comparison() {
    let mut profiles = Profiles::default();
    let tier = |profiles: &Profiles, n| profiles.standing(START.later(HOUR), &peer(n), START.unix_ms).1;
    for n in 0..20 {
        for round in 0..10 {
            match (n, round) {
                (0, 1..) | (_, 0..3) => profiles.note_unanswered(START, &peer(n)),
                _ => profiles.note_agreed(START, &peer(n)),
            }
        }
        profiles.note_carried(START, &peer(n));
        let ms = if n == 1 { 300 } else { 900 };
        (0..9).for_each(|_| profiles.note_speed(START, &peer(n), Duration::from_millis(ms), 1_000));
    }
    assert_eq!([0, 1, 2].map(|n| tier(&profiles, n)), [Tier::Poor, Tier::Fast, Tier::Plain]);
    assert_eq!(tier(&profiles, 99), Tier::Plain, "of a new one nothing is known");
    assert!(Tier::Fast.weight() * 2 <= Tier::Plain.weight() * 3, "threats P-15");
    // Everybody fails as often: then nobody is poor.
    for n in 1..20 {
        (0..60).for_each(|_| profiles.note_unanswered(START, &peer(n)));
    }
    assert_ne!(tier(&profiles, 5), Tier::Poor);
}

/// Threats P-1: a flood of routers that answer nothing, or accept and carry nothing.
#[test]
fn wary_while_new_routers_are_useless() {
    let mut profiles = Profiles::default();
    (0..30).for_each(|n| profiles.note_carried(START, &peer(n)));
    assert!(!profiles.is_wary(), "new ones did well");
    for n in 100..400 {
        profiles.note_agreed(START, &peer(n));
        profiles.note_dropped(START, &peer(n));
    }
    assert!(profiles.is_wary());
    let saved = profiles.to_file();
    let mut again = Profiles::default();
    assert_eq!(again.load(START, &saved), profiles.len());
    assert!(again.is_wary(), "threats P-3: a start does not forget");
    for n in 400..700 {
        profiles.note_carried(START, &peer(n));
    }
    assert!(!profiles.is_wary(), "the flood is over");
    let mut few = Profiles::default();
    let proven = limits::PROVEN_LEAST as u64 - 1;
    (0..proven).for_each(|n| few.note_carried(START, &peer(n)));
    assert!(!few.is_lost());
    (100..400).for_each(|n| few.note_unanswered(START, &peer(n)));
    assert!(!few.is_wary() && few.is_lost(), "too few are proven to be choosy");
    few.note_carried(START, &peer(proven));
    assert!(few.is_wary() && !few.is_lost());
}

#[test]
fn a_file_gives_back_what_was_saved() {
    let mut profiles = Profiles::default();
    for n in 0..200 {
        (0..n % 7).for_each(|_| profiles.note_agreed(START, &peer(n)));
        (0..n % 3).for_each(|_| profiles.note_declined(START, &peer(n)));
        (0..n % 2).for_each(|_| profiles.note_carried(START, &peer(n)));
        profiles.note_speed(START, &peer(n), Duration::from_millis(n + 1), 7);
    }
    let mut again = Profiles::default();
    assert_eq!(again.load(START, &profiles.to_file()), 200);
    assert_eq!(again.to_file(), profiles.to_file());
    assert_eq!(again.proven().len(), profiles.proven().len());
}

/// A file that is not ours, damaged, or made to favour somebody.
#[test]
fn a_hostile_file_is_left_out() {
    let mut profiles = Profiles::default();
    (0..20).for_each(|n| profiles.note_carried(START, &peer(n)));
    let file = profiles.to_file();
    for cut in 0..file.len() {
        let taken = Profiles::default().load(START, &file[..cut]);
        assert!(taken < 20, "cut at {cut}");
    }
    let mut again = Profiles::default();
    assert_eq!(again.load(START, b"anything else, and long enough to be one"), 0);
    // Counters without end, of all peers and of one; and an entry out of the future.
    let mut lying = file.clone();
    lying[8..40].fill(0xff);
    let entry = file.len() - 64;
    lying[entry + 32..].fill(0xff);
    assert_eq!(again.load(START, &lying), 19);
    again.note_agreed(START, &peer(3));
    assert!(!again.is_wary());
    let mut later = Profiles::default();
    assert_eq!(later.load(Now::new(Instant::ZERO, 0), &file), 0, "all of it is out of the future");
    // Every other byte may be changed: nothing breaks.
    for at in 8..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 0xa5;
        let mut some = Profiles::default();
        some.load(START, &bad);
        some.fade(START.later(HOUR));
        assert!(some.len() <= 20 && some.proven().len() <= 20);
    }
    // More than the bound are not taken.
    let entries = file[40..].chunks(64).next().unwrap();
    let mut long = file[..40].to_vec();
    for n in 0..limits::PROFILES as u64 + 50 {
        long.extend_from_slice(peer(n).as_bytes());
        long.extend_from_slice(&entries[32..]);
    }
    assert_eq!(Profiles::default().load(START, &long), limits::PROFILES);
}

/// Threats P-43: who is gone is no hop until something says that it is back.
#[test]
fn who_is_gone_is_doubtful_until_it_is_heard_of() {
    let mut profiles = Profiles::default();
    let (before, later) = (START.unix_ms - 1, START.later(2 * MEMORY));
    let doubtful = |profiles: &Profiles, n, published, now| profiles.standing(now, &peer(n), published).0;
    for n in 0..4 {
        profiles.note_carried(START, &peer(n));
        profiles.note_gone(START, &peer(n));
        assert!(doubtful(&profiles, n, before, later));
        assert!(!profiles.is_proven(&peer(n)) && profiles.has_carried(&peer(n)), "what it carried is not lost");
    }
    assert!(!doubtful(&profiles, 0, START.unix_ms + 1, later), "it has published since");
    profiles.note_here(&peer(1));
    assert!(!doubtful(&profiles, 1, before, later) && profiles.is_proven(&peer(1)));
    profiles.note_agreed(later, &peer(2));
    assert!(!doubtful(&profiles, 2, before, later) && profiles.is_proven(&peer(2)));
    assert!(!doubtful(&profiles, 3, before, START.later(GONE)), "not for ever");
    profiles.note_here(&peer(9));
    assert_eq!(profiles.len(), 4, "a session alone is no profile");
}
