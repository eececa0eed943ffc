//! Names that look like each other. Names hold letters, digits and hyphens only; but browsers show `xn--` names in all
//! scripts of the world, and even `l` and `1` are told apart by few.

use super::host::HostName;
use std::sync::LazyLock;
use unicode_security::{GeneralSecurityProfile, MixedScript, skeleton};

/// What is odd about a name by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// As browsers may show it.
    pub shown: String,
    /// `None` where it is only written in another script.
    pub why: Option<&'static str>,
}

/// How `name` is shown, if that is not how it is written, and what of it may deceive.
pub fn oddity(name: &HostName) -> Option<Odd> {
    let labels: Vec<&str> = name.as_str().split('.').collect();
    if !labels.iter().any(|label| label.starts_with("xn--")) {
        return None;
    }
    let shown: Vec<Option<String>> = labels.iter().map(|label| unicode(label)).collect();
    let text = shown.iter().zip(&labels).map(|(shown, label)| shown.clone().unwrap_or((*label).to_owned()));
    let text = text.collect::<Vec<_>>().join(".");
    let any = |test: fn(&str) -> bool| shown.iter().flatten().any(|label| test(label));
    let why = if shown.iter().zip(&labels).any(|(shown, label)| shown.is_none() && label.starts_with("xn--")) {
        Some("It claims to be in another script, and is in none.")
    } else if any(|label| !label.is_ascii() && skeleton(label).all(|c| c.is_ascii())) {
        Some("It is made of letters of another script that look like those of English.")
    } else if any(|label| !label.is_single_script()) {
        Some("It mixes letters of several scripts, which often is how one name poses as another.")
    } else if any(|label| label.chars().any(|c| !c.identifier_allowed() && c != '-')) {
        Some("It holds signs that are no letters, or of scripts that nobody writes any more.")
    } else {
        None
    };
    Some(Odd { shown: text, why })
}

/// Whether two names, which are not the same, can be taken for each other.
pub(super) fn are_alike(bones: &[char], other: &HostName) -> bool {
    let name = other.as_str();
    if name.contains("xn--") {
        return self::bones(other) == bones;
    }
    let mut own = bones.iter();
    name.bytes().all(|b| plain(b).iter().all(|c| own.next() == Some(c))) && own.next().is_none()
}

/// What is left of a name when letters that look alike are one.
pub(super) fn bones(name: &HostName) -> Vec<char> {
    let mut bones = Vec::new();
    for (i, label) in name.as_str().split('.').enumerate() {
        if i > 0 {
            bones.push('.');
        }
        match unicode(label) {
            Some(shown) => bones.extend(skeleton(&shown).flat_map(char::to_lowercase)),
            None => bones.extend(label.bytes().flat_map(|b| plain(b).iter().copied())),
        }
    }
    bones
}

/// An `xn--` label in its own script; `None` for all others, and for those that are in none.
fn unicode(label: &str) -> Option<String> {
    let shown = idna::punycode::decode_to_string(label.strip_prefix("xn--")?)?;
    // Browsers show none that could be written without it.
    (!shown.is_empty() && !shown.is_ascii() && !shown.chars().any(char::is_control)).then_some(shown)
}

/// The bones of a letter, digit or hyphen: they do not depend on what stands beside it.
fn plain(byte: u8) -> &'static [char] {
    static BONES: LazyLock<Vec<Vec<char>>> = LazyLock::new(|| {
        let bones = |byte: u8| {
            let text = char::from(byte).to_string();
            skeleton(&text).flat_map(char::to_lowercase).collect()
        };
        (0..128).map(bones).collect()
    });
    BONES.get(usize::from(byte)).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    /// A name with a label in another script.
    fn other(label: &str) -> HostName {
        name(&format!("xn--{}.i2p", idna::punycode::encode_str(label).unwrap()))
    }

    fn alike(a: &HostName, b: &HostName) -> bool {
        assert_eq!(are_alike(&bones(a), b), are_alike(&bones(b), a), "{a} {b}");
        are_alike(&bones(a), b)
    }

    #[test]
    fn t117_names_that_look_alike_are_found() {
        let pairs = [
            ("forum.i2p", "forurn.i2p"),
            ("planet.i2p", "p1anet.i2p"),
            ("zero.i2p", "zer0.i2p"),
            ("www.mail2.i2p", "www.rnail2.i2p"),
        ];
        for (a, b) in pairs {
            assert!(alike(&name(a), &name(b)), "{a} {b}");
        }
        for (a, b) in
            [("forum.i2p", "forums.i2p"), ("forum.i2p", "foru.i2p"), ("a.b.i2p", "ab.i2p"), ("o.i2p", "c.i2p")]
        {
            assert!(!alike(&name(a), &name(b)), "{a} {b}");
        }
        // Cyrillic letters for all of them, or for one.
        assert!(alike(&name("scope.i2p"), &other("ѕсоре")));
        assert!(alike(&name("forum.i2p"), &other("fоrum")));
        assert!(!alike(&name("forum.i2p"), &other("форум")));
    }

    #[test]
    fn t117_scripts_that_are_mixed_or_pose_as_english_are_said() {
        let why = |name: &HostName| oddity(name).and_then(|odd| odd.why).unwrap_or_default();
        assert!(why(&other("ѕсоре")).contains("look like those of English"));
        assert!(why(&other("fоrum")).contains("look like those of English"));
        assert!(why(&other("жpizza")).contains("several scripts"));
        assert!(why(&name("xn--99999999.i2p")).contains("in none"));
        let honest = oddity(&other("форум")).unwrap();
        assert_eq!((honest.shown.as_str(), honest.why), ("форум.i2p", None));
        assert_eq!(oddity(&name("forum.i2p")), None);
    }

    proptest! {
        #[test]
        fn every_name_has_bones_and_is_like_itself(label in "[a-z0-9]{1,20}", odd in "xn--[a-z0-9]{1,20}") {
            for text in [label, odd] {
                if let Ok(name) = HostName::parse(&format!("{text}.i2p")) {
                    prop_assert!(are_alike(&bones(&name), &name));
                    let _ = oddity(&name);
                }
            }
        }
    }
}
