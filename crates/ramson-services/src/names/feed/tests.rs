//! Feeds as registrars write them, and as impostors would.

use super::register::{SignError, Wish, sign};
use super::subscribed::Version;
use super::*;
use crate::names::{Names, Part, Source};
use proptest::prelude::*;
use ramson_wire::data::{PrivateKeys, base64};

const NOW: u64 = 2_000_000_000;

fn keys() -> PrivateKeys {
    PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng))
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// Names that have read feeds, without files.
#[derive(Default)]
struct Reader {
    names: Subscribed,
    own: Book,
    shipped: Book,
}

impl Reader {
    fn read(&mut self, lines: &[String]) -> Report {
        let others = Others { own: &self.own, shipped: &self.shipped };
        apply(&mut self.names, others, lines.join("\n").as_bytes(), &Arc::from("http://feed.i2p/"), NOW)
    }

    fn means(&self, text: &str) -> Option<&Destination> {
        self.names.get(&name(text))?.destination.as_ref()
    }
}

fn plain(host: &str, keys: &PrivateKeys) -> String {
    format!("{host}={}", keys.destination().to_base64())
}

fn line(host: &str, keys: &PrivateKeys, wish: &Wish, date: u64) -> String {
    sign(&name(host), keys, wish, (date > 0).then_some(date)).unwrap()
}

fn change(host: &str, old: &PrivateKeys, new: &PrivateKeys, date: u64) -> String {
    line(host, new, &Wish::ChangeDestination { old: old.clone() }, date)
}

#[test]
fn the_first_has_a_name_until_its_key_signs_it_over() {
    let (a, b, x) = (keys(), keys(), keys());
    let mut reader = Reader::default();
    let report = reader.read(&[plain("a.i2p", &a), plain("a.i2p", &x), line("b.i2p", &b, &Wish::Add, 0)]);
    assert_eq!((report.added, report.conflicts), (2, 1));
    assert_eq!(reader.means("a.i2p"), Some(a.destination()));
    // Neither a plain line nor the signature of the newcomer alone takes it.
    let forged = change("a.i2p", &a, &x, 5).replace("oldsig=", "oldsig=A");
    let by_himself = change("a.i2p", &x, &x, 5).replace(
        &format!("olddest={}", x.destination().to_base64()),
        &format!("olddest={}", a.destination().to_base64()),
    );
    let added = line("a.i2p", &x, &Wish::Add, 9);
    let report = reader.read(&[plain("a.i2p", &x), forged, by_himself, added]);
    assert_eq!((report.is_change(), report.unsigned, report.conflicts), (false, 2, 2));
    let report = reader.read(&[change("a.i2p", &a, &b, 5)]);
    assert_eq!((report.changed, reader.means("a.i2p")), (1, Some(b.destination())));
    assert_eq!(reader.read(&[change("a.i2p", &a, &b, 5)]), Report::default(), "it is so already");
}

#[test]
fn t117_every_bit_of_a_signed_line_counts() {
    let (a, b) = (keys(), keys());
    let good = change("a.i2p", &a, &b, 7);
    for at in (0..good.len()).step_by(11) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        let mut reader = Reader::default();
        reader.read(&[plain("a.i2p", &a)]);
        let Ok(text) = String::from_utf8(bytes) else { continue };
        reader.read(std::slice::from_ref(&text));
        assert_eq!(reader.means("a.i2p"), Some(a.destination()), "{text}");
    }
}

#[test]
fn the_order_of_lines_says_nothing_and_the_past_does_not_come_back() {
    let all: Vec<PrivateKeys> = (0..4).map(|_| keys()).collect();
    let [a, b, c, d] = all.as_slice() else { panic!("four") };
    // The chain backwards, as a feed may have it.
    let lines = [change("a.i2p", c, d, 3), change("a.i2p", b, c, 2), change("a.i2p", a, b, 1)];
    let mut reader = Reader::default();
    reader.read(&[plain("a.i2p", a)]);
    assert_eq!(reader.read(&lines).changed, 3);
    assert_eq!(reader.means("a.i2p"), Some(d.destination()));
    assert!(!reader.read(&lines).is_change());
    // Back again, without a date or with an old one: whoever has the feed of yesterday could say so.
    for date in [0, 2, 3] {
        assert!(!reader.read(&[change("a.i2p", d, a, date)]).is_change(), "{date}");
    }
    assert_eq!(reader.read(&[change("a.i2p", d, a, 4)]).changed, 1);
    assert!(!reader.read(&lines).is_change(), "older than what is known");
    // A date that has not come would keep all later ones away.
    assert_eq!(reader.read(&[change("a.i2p", a, b, NOW + 200_000)]).unsigned, 1);
    assert_eq!(reader.means("a.i2p"), Some(a.destination()));
}

#[test]
fn names_are_changed_given_up_and_taken_again() {
    let (a, b, x) = (keys(), keys(), keys());
    let mut reader = Reader::default();
    reader.read(&[plain("a.i2p", &a), plain("x.i2p", &x)]);
    let renamed = line("new.i2p", &a, &Wish::ChangeName { old: name("a.i2p") }, 1);
    assert_eq!(reader.read(std::slice::from_ref(&renamed)).changed, 1);
    assert_eq!((reader.means("a.i2p"), reader.means("new.i2p")), (None, Some(a.destination())));
    assert!(!reader.read(&[renamed, plain("a.i2p", &a)]).is_change(), "an old line does not bring it back");
    // Somebody else may have it then; nobody can rename what is not his.
    assert_eq!(reader.read(&[plain("a.i2p", &b)]).added, 1);
    assert!(!reader.read(&[line("y.i2p", &b, &Wish::ChangeName { old: name("x.i2p") }, 0)]).is_change());
    // Removed by its own key only.
    assert!(!reader.read(&[line("x.i2p", &b, &Wish::Remove, 5)]).is_change());
    assert_eq!(reader.read(&[line("x.i2p", &x, &Wish::Remove, 5)]).removed, 1);
    assert!(!reader.read(&[plain("x.i2p", &x), line("x.i2p", &x, &Wish::Add, 4)]).is_change());
    assert_eq!(reader.read(&[line("x.i2p", &x, &Wish::Add, 6)]).added, 1, "who held it can come back");
    // All names of one destination.
    reader.read(&[plain("one.i2p", &x), plain("two.i2p", &x)]);
    let forged =
        line("one.i2p", &a, &Wish::RemoveAll, 9).replace(&a.destination().to_base64(), &x.destination().to_base64());
    assert_eq!(reader.read(&[forged]).unsigned, 1);
    assert_eq!(reader.read(&[line("one.i2p", &x, &Wish::RemoveAll, 9)]).removed, 3);
    assert_eq!((reader.means("one.i2p"), reader.means("a.i2p")), (None, Some(b.destination())));
}

#[test]
fn names_beside_and_below_others_are_those_of_their_holders() {
    let (a, b, x) = (keys(), keys(), keys());
    let mut reader = Reader::default();
    reader.read(&[plain("a.i2p", &a)]);
    let below =
        |parent: &PrivateKeys| line("w.a.i2p", &b, &Wish::Subdomain { of: name("a.i2p"), parent: parent.clone() }, 0);
    assert_eq!(reader.read(&[below(&x)]).conflicts, 1);
    assert_eq!(reader.read(&[below(&a)]).added, 1);
    let alias = |keys: &PrivateKeys, host: &str| line(host, keys, &Wish::Alias { of: name("a.i2p") }, 0);
    assert_eq!(reader.read(&[alias(&x, "z.i2p")]).conflicts, 1);
    assert_eq!(reader.read(&[alias(&a, "also.i2p")]).added, 1);
    // Another destination for the same name: ours takes the new one.
    let report = reader.read(&[line("a.i2p", &b, &Wish::AddDestination { old: a.clone() }, 0)]);
    assert_eq!((report.changed, reader.means("a.i2p")), (1, Some(b.destination())));
    let wish = Wish::Subdomain { of: name("other.i2p"), parent: a.clone() };
    assert_eq!(sign(&name("w.a.i2p"), &b, &wish, None), Err(SignError::NotBelow));
    let transient = a.delegate(ramson_wire::crypto::sign::SigningKey::from_seed([9; 32]), 77).unwrap();
    assert_eq!(sign(&name("w.i2p"), &transient, &Wish::Add, None), Err(SignError::Transient));
}

#[test]
fn a_line_is_signed_as_the_specification_says() {
    let (a, b) = (keys(), keys());
    let (a64, b64) = (a.destination().to_base64(), b.destination().to_base64());
    assert_eq!(
        line("a.i2p", &a, &Wish::Add, 0),
        format!("a.i2p={a64}#!sig={}", base64::encode(&a.signing_key().sign(format!("a.i2p={a64}").as_bytes())))
    );
    let inner = format!("a.i2p={b64}#!action=changedest#date=5#olddest={a64}");
    let old = base64::encode(&a.signing_key().sign(inner.as_bytes()));
    let outer = format!("{inner}#oldsig={old}");
    let sig = base64::encode(&b.signing_key().sign(outer.as_bytes()));
    assert_eq!(change("a.i2p", &a, &b, 5), format!("{outer}#sig={sig}"));
    let removed = format!("#!action=remove#dest={a64}#name=a.i2p");
    let sig = base64::encode(&a.signing_key().sign(removed.as_bytes()));
    assert_eq!(line("a.i2p", &a, &Wish::Remove, 0), format!("{removed}#sig={sig}"));
    // Keys in any order, and keys that nobody knows, which count all the same.
    let text = format!("a.i2p={a64}#!zz=1#aa=2");
    let sorted = format!("a.i2p={a64}#!aa=2#zz=1");
    let sig = base64::encode(&a.signing_key().sign(sorted.as_bytes()));
    let mut reader = Reader::default();
    assert_eq!(reader.read(&[format!("{text}#sig={sig}")]).added, 1);
    assert_eq!(reader.read(&[format!("b.i2p={a64}#!zz=1#aa=3#sig={sig}")]).unsigned, 1);
    let expired = format!("c.i2p={a64}#!expires={NOW}");
    let sig = base64::encode(&a.signing_key().sign(expired.as_bytes()));
    assert_eq!(reader.read(&[format!("{expired}#sig={sig}")]).unsigned, 1);
}

/// Made by another implementation: an old destination with a DSA key and no certificate, whose holder has signed the name
/// over to a new one with an Ed25519 key.
const FROM_DSA: &str = include_str!("from_dsa.txt");

#[test]
fn a_holder_with_an_old_key_moves_a_name_to_a_new_one() {
    let (old, change) = FROM_DSA.split_once('\n').unwrap();
    let mut reader = Reader::default();
    assert_eq!(reader.read(&[old.to_owned()]).added, 1);
    let before = reader.means("forum.i2p").unwrap().hash();
    // One bit of the inner signature, and it stays.
    let (ahead, behind) = change.split_once("#oldsig=").unwrap();
    let other = if behind.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{ahead}#oldsig={other}{}", &behind[1..]);
    assert_eq!(reader.read(&[forged]).unsigned, 1);
    assert_eq!(reader.means("forum.i2p").unwrap().hash(), before);
    // CRLF, as some servers send it.
    let report = reader.read(&[format!("{}\r", change.trim_end())]);
    assert_eq!((report.changed, report.unsigned, report.bad), (1, 0, 0));
    assert_ne!(reader.means("forum.i2p").unwrap().hash(), before);
}

#[test]
fn t117_hostile_feeds_take_no_name() {
    let (a, x) = (keys(), keys());
    let x64 = x.destination().to_base64();
    let mut reader = Reader::default();
    reader.read(&[plain("a.i2p", &a)]);
    let bad = [
        format!("proxy.i2p={x64}"),
        format!("mail.i2p={x64}"),
        format!("www.mail.i2p={x64}"),
        format!("a--b.i2p={x64}"),
        format!("{}.b32.i2p={x64}", "a".repeat(52)),
        format!("A.i2p={x64}#!sig=AAAA"),
        format!("b.i2p={x64}#!sig"),
        format!("b.i2p={x64}#!sig=AA==#sig=AA=="),
        format!("b.i2p={x64}#!action=fly#sig=AA=="),
        format!("b.i2p={x64}#!action=remove#name=b.i2p#dest={x64}#sig=AA=="),
        format!("b.i2p={x64}#!date=-1#sig=AA=="),
        format!("b.i2p={x64}#!date=99999999999999999999#sig=AA=="),
        "#!action=remove#name=a.i2p#sig=AA==".into(),
        format!("#!action=changedest#name=a.i2p#dest={x64}#olddest={x64}#oldsig=A#sig=A"),
        format!("b.i2p={x64}#!{}", (0..FEED_KEYS_PLUS).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join("#")),
        "x".repeat(1 << 20),
        "=".into(),
        "#!".into(),
    ];
    for line in bad {
        let report = reader.read(std::slice::from_ref(&line));
        assert_eq!((report.bad, report.is_change()), (1, false), "{}", &line[..line.len().min(60)]);
    }
    // In a comment nothing counts; a name is read in any case, as the specification says.
    let report =
        reader.read(&[format!("# c.i2p={x64}"), format!("c.i2p={x64}# <script>#!sig=AA==\r"), format!("D.i2p={x64}")]);
    assert_eq!((report.added, report.bad), (2, 0));
}

const FEED_KEYS_PLUS: usize = crate::limits::FEED_KEYS + 1;

#[test]
fn what_is_remembered_is_bounded() {
    let all: Vec<PrivateKeys> = (0..crate::limits::FEED_PAST + 5).map(|_| keys()).collect();
    let mut reader = Reader::default();
    reader.read(&[plain("a.i2p", &all[0])]);
    let lines: Vec<String> =
        all.windows(2).enumerate().map(|(i, pair)| change("a.i2p", &pair[0], &pair[1], i as u64 + 1)).collect();
    assert_eq!(reader.read(&lines).changed, lines.len());
    assert_eq!(reader.names.get(&name("a.i2p")).unwrap().moved.len(), crate::limits::FEED_PAST);
    // Backwards each round does one step, and the rounds end.
    let mut reader = Reader::default();
    reader.read(&[plain("a.i2p", &all[0])]);
    let backwards: Vec<String> = lines.iter().rev().cloned().collect();
    assert_eq!(reader.read(&backwards).changed, crate::limits::FEED_ROUNDS + 1);
    // As many names as there is room for.
    let (a, mut full) = (keys(), Subscribed::default());
    for n in 0..HOSTS_NAMES {
        full.entry(&name(&format!("n{n}.i2p")));
    }
    let mut reader = Reader { names: full, ..Reader::default() };
    let report = reader.read(&[plain("new.i2p", &a), line("other.i2p", &a, &Wish::Remove, 1), plain("n7.i2p", &a)]);
    assert_eq!((report.too_many, report.added, reader.names.len()), (2, 1, HOSTS_NAMES));
    for n in 0..crate::limits::SUBSCRIPTIONS + 3 {
        reader.names.set_version(&format!("http://n{n}.i2p/"), Version::default());
    }
    assert_eq!(reader.names.to_text().matches("#!feed\t").count(), crate::limits::SUBSCRIPTIONS);
    let long = "x".repeat(crate::limits::VALIDATOR_BYTES + 1);
    assert_eq!((Version::value(Some(&long)), Version::value(Some("a\tb"))), (String::new(), String::new()));
}

#[test]
fn the_file_holds_all_and_a_damaged_one_makes_the_feeds_be_read_anew() {
    let (a, b, c) = (keys(), keys(), keys());
    let mut reader = Reader::default();
    reader.read(&[plain("a.i2p", &a), plain("b.i2p", &b), plain("gone.i2p", &c)]);
    reader.read(&[change("a.i2p", &a, &b, 5), line("gone.i2p", &c, &Wish::Remove, 6)]);
    let version = Version { etag: "W/\"1#2\"".into(), modified: "Thu, 01 Jan 1970".into(), checked: 7 };
    reader.names.set_version("http://feed.i2p/", version);
    let text = reader.names.to_text();
    assert_eq!(Subscribed::parse(text.as_bytes()), reader.names);
    // Others read it as a hosts.txt.
    let (book, skipped) = Book::parse(text.as_bytes());
    assert_eq!((book.len(), skipped), (2, crate::names::Skipped::default()));
    let damaged = Subscribed::parse(text.replace("gone=", "gone=!").as_bytes());
    assert_eq!((damaged.len(), damaged.version("http://feed.i2p/")), (2, Version::default()));
}

#[test]
fn what_the_user_says_is_changed_by_who_holds_the_name_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts.txt");
    let names = Names::open(&path).unwrap();
    let (a, b, x) = (keys(), keys(), keys());
    let read = |lines: &[String]| {
        let version = Version { etag: "\"1\"".into(), ..Version::default() };
        names.take_feed(lines.join("\n").as_bytes(), &Arc::from("http://feed.i2p/"), version, NOW).unwrap()
    };
    let means = |names: &Names, text: &str| names.resolve(&name(text)).map(|(d, source)| (d.hash(), source));
    names.set(Part::User, &name("a.i2p"), a.destination()).unwrap();
    names.set(Part::Private, &name("p.i2p"), a.destination()).unwrap();
    assert_eq!(read(&[plain("a.i2p", &x), plain("p.i2p", &x)]).conflicts, 1);
    assert_eq!(means(&names, "p.i2p"), Some((a.destination().hash(), Source::Private)));
    assert_eq!(read(&[change("a.i2p", &a, &b, 1), change("p.i2p", &x, &b, 1)]).changed, 2);
    assert_eq!(means(&names, "a.i2p"), Some((b.destination().hash(), Source::Subscribed)));
    assert_eq!(means(&names, "p.i2p"), Some((a.destination().hash(), Source::Private)));
    assert_eq!(names.told_by(&name("a.i2p")).as_deref(), Some("http://feed.i2p/"));
    // Given up: what the user wrote himself is what is left of it.
    assert_eq!(read(&[line("a.i2p", &b, &Wish::Remove, 2)]).removed, 1);
    assert_eq!(means(&names, "a.i2p"), Some((a.destination().hash(), Source::User)));
    // A shipped name is one that is known.
    let shipped = means(&names, "smtp.postman.i2p");
    assert_eq!(read(&[plain("smtp.postman.i2p", &x)]).conflicts, 1);
    assert_eq!(means(&names, "smtp.postman.i2p"), shipped);
    let again = Names::open(&path).unwrap();
    assert_eq!((again.list(), again.version("http://feed.i2p/").etag.as_str()), (names.list(), "\"1\""));
    // Forgotten by the user's command, it can be had again.
    assert!(again.forget_subscribed(&name("a.i2p")).unwrap() && !again.forget_subscribed(&name("a.i2p")).unwrap());
    assert!(names.told_by(&name("a.i2p")).is_some(), "this one has not looked yet");
    let _ = names.resolve(&name("a.i2p"));
    assert!(names.told_by(&name("a.i2p")).is_none());
}

proptest! {
    #[test]
    fn random_feeds_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        words in "([ab].i2p=|#!|#|sig=|action=|remove|D|date=[0-9]{0,3}|name=|\n){0,30}",
    ) {
        let text = words.replace('D', &keys().destination().to_base64());
        for bytes in [&bytes[..], text.as_bytes()] {
            crate::names::fuzzing::feed(bytes);
        }
    }
}
