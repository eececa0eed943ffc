//! The options of I2CP and of streams on SESSION CREATE: what of them has an effect here, and what is refused because it
//! would be less than what was asked for.

use super::parse::Line;
use super::reply::Refusal;
use crate::limits::SAM_ACCESS;
use ramson::{DestinationOptions, Hash, Mapping, TunnelOptions};
use ramson_wire::data::{Destination, base32, base64};
use std::collections::BTreeSet;

const HOPS: i16 = 7;
const QUANTITY: u8 = 16;

/// What a session of this name is to be like.
pub(super) fn destination(line: &Line, name: &str, transient: bool) -> Result<DestinationOptions, Refusal> {
    refuse_what_is_not_built(line)?;
    let nickname = ["outbound.nickname", "inbound.nickname"].iter().find_map(|key| line.get(key));
    Ok(DestinationOptions {
        name: nickname.unwrap_or(name).chars().take(64).collect(),
        inbound: tunnels(line, "inbound")?,
        outbound: tunnels(line, "outbound")?,
        publish: !line.flag("i2cp.dontPublishLeaseSet")?,
        // Java packs by default. Here it is asked for: see `DestinationOptions::compress`.
        compress: line.flag("i2cp.gzip")?,
        transient,
    })
}

/// The same of a session of I2CP, where they come as a mapping.
pub(crate) fn of_i2cp(options: &Mapping) -> Result<DestinationOptions, String> {
    let options = options.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    destination(&Line { options, ..Line::default() }, "I2CP", true).map_err(|refusal| refusal.message)
}

fn tunnels(line: &Line, way: &str) -> Result<TunnelOptions, Refusal> {
    let key = |name: &str| format!("{way}.{name}");
    let default = TunnelOptions::default();
    let length = signed(line, &key("length"))?.unwrap_or(i16::from(default.hops));
    if !(0..=HOPS).contains(&length) {
        return Err(Refusal::error(format!("{way}.length is 0 to {HOPS}")));
    }
    let variance = signed(line, &key("lengthVariance"))?.unwrap_or(0);
    if !(-HOPS..=HOPS).contains(&variance) {
        return Err(Refusal::error(format!("{way}.lengthVariance is -{HOPS} to {HOPS}")));
    }
    // With a negative one tunnels are as much shorter as longer.
    let (least, most) = if variance < 0 { (length + variance, length - variance) } else { (length, length + variance) };
    let (least, most) = (least.max(0), most.min(HOPS));
    let quantity = line.number::<u8>(&key("quantity"))?.unwrap_or(default.quantity);
    let backup = line.number::<u8>(&key("backupQuantity"))?.unwrap_or(0);
    if !(1..=QUANTITY).contains(&quantity) || backup > QUANTITY {
        return Err(Refusal::error(format!(
            "{way}.quantity is 1 to {QUANTITY}, and {way}.backupQuantity 0 to {QUANTITY}"
        )));
    }
    let hops = u8::try_from(least).unwrap_or(default.hops);
    Ok(TunnelOptions {
        hops,
        dangerously_short: hops < TunnelOptions::SAFE_HOPS,
        extra_hops: u8::try_from(most - least).unwrap_or(0),
        // Tunnels in reserve are used like the others here.
        quantity: quantity.saturating_add(backup).min(QUANTITY),
    })
}

fn signed(line: &Line, key: &str) -> Result<Option<i16>, Refusal> {
    let Some(text) = line.get(key) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Refusal::error(format!("{key} is not a number in its range")))
}

/// What hides a destination from others, or keeps others from it, is never left out in silence.
fn refuse_what_is_not_built(line: &Line) -> Result<(), Refusal> {
    match line.get("i2cp.leaseSetType") {
        None | Some("1" | "3") => {}
        Some(_) => return Err(Refusal::error("i2cp.leaseSetType: only 3 (LeaseSet2) can be published here")),
    }
    if let Some(types) = line.get("i2cp.leaseSetEncType")
        && !types.split(',').any(|kind| kind.trim() == "4")
    {
        return Err(Refusal::error("i2cp.leaseSetEncType: only 4 (ECIES-X25519) can be used here"));
    }
    let encrypted = ["i2cp.leaseSetSecret", "i2cp.leaseSetPrivKey", "i2cp.leaseSetKey", "i2cp.leaseSetClient.dh.0"];
    let asked = encrypted.iter().any(|key| line.get(key).is_some());
    let auth = line.get("i2cp.leaseSetAuthType").is_some_and(|kind| kind != "0");
    if asked || auth || line.flag("i2cp.encryptLeaseSet")? {
        return Err(Refusal::error("encrypted LeaseSets cannot be published here"));
    }
    Ok(())
}

/// Who may reach a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Access {
    #[default]
    All,
    Only(BTreeSet<Hash>),
    AllBut(BTreeSet<Hash>),
}

impl Access {
    /// By `i2cp.enableAccessList`, `i2cp.enableBlackList` and `i2cp.accessList`.
    pub(super) fn of(line: &Line) -> Result<Self, Refusal> {
        let (only, but) = (line.flag("i2cp.enableAccessList")?, line.flag("i2cp.enableBlackList")?);
        if !only && !but {
            return Ok(Self::All);
        }
        if only && but {
            return Err(Refusal::error("i2cp.enableAccessList and i2cp.enableBlackList exclude each other"));
        }
        let text = line.get("i2cp.accessList").unwrap_or_default();
        let names = text.split([',', ' ']).filter(|name| !name.is_empty());
        let hashes = names.take(SAM_ACCESS + 1).map(hash).collect::<Option<BTreeSet<_>>>();
        let hashes =
            hashes.ok_or_else(|| Refusal::error("i2cp.accessList holds what is no hash and no destination"))?;
        if hashes.len() > SAM_ACCESS {
            return Err(Refusal::error(format!("i2cp.accessList has more than {SAM_ACCESS} entries")));
        }
        Ok(if only { Self::Only(hashes) } else { Self::AllBut(hashes) })
    }

    /// Whether this one may. Who is not known may where all may but some.
    pub(super) fn admits(&self, who: Option<&Hash>) -> bool {
        match self {
            Self::All => true,
            Self::Only(hashes) => who.is_some_and(|who| hashes.contains(who)),
            Self::AllBut(hashes) => who.is_none_or(|who| !hashes.contains(who)),
        }
    }
}

/// A destination's hash: in base64, as a b32 name with or without its domain, or of the whole destination.
fn hash(text: &str) -> Option<Hash> {
    if let Some(hash) = base32::host_hash(text).or_else(|| base32::host_hash(&format!("{text}.b32.i2p"))) {
        return Some(hash);
    }
    if text.len() == 44 {
        return base64::decode(text).ok()?.try_into().ok().map(Hash);
    }
    Destination::from_base64(text).ok().map(|destination| destination.hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &str) -> Line {
        Line::parse(format!("SESSION CREATE {options}").as_bytes()).unwrap()
    }

    fn read(options: &str) -> Result<DestinationOptions, Refusal> {
        destination(&line(options), "id", true)
    }

    #[test]
    fn tunnels_are_as_the_options_say() {
        let plain = read("").unwrap();
        assert_eq!((plain.inbound.clone(), plain.publish, plain.name.as_str()), (TunnelOptions::default(), true, "id"));
        let options = read(
            "inbound.length=2 inbound.quantity=4 inbound.backupQuantity=2 outbound.length=1 outbound.lengthVariance=1 \
             outbound.quantity=16 outbound.backupQuantity=3 inbound.nickname=tracker i2cp.dontPublishLeaseSet=true \
             i2cp.gzip=true i2cp.leaseSetEncType=6,4 i2cp.leaseSetType=3 i2p.streaming.profile=1 inbound.allowZeroHop=true",
        );
        let options = options.unwrap();
        assert_eq!(options.inbound, TunnelOptions { hops: 2, quantity: 6, extra_hops: 0, dangerously_short: false });
        assert_eq!(options.outbound, TunnelOptions { hops: 1, quantity: 16, extra_hops: 1, dangerously_short: true });
        assert_eq!((options.name.as_str(), options.publish, options.compress), ("tracker", false, true));
        let drawn = |variance: &str| {
            let it = read(&format!("inbound.length=2 inbound.lengthVariance={variance}")).unwrap().inbound;
            (it.hops, it.extra_hops)
        };
        assert_eq!([drawn("-1"), drawn("-5"), drawn("7"), drawn("0")], [(1, 2), (0, 7), (2, 5), (2, 0)]);
    }

    #[test]
    fn t100_lengths_and_quantities_out_of_range_are_refused() {
        for bad in [
            "inbound.length=8",
            "outbound.length=100",
            "inbound.length=-1",
            "inbound.length=x",
            "inbound.quantity=0",
            "outbound.quantity=17",
            "outbound.quantity=1000",
            "inbound.backupQuantity=17",
            "inbound.lengthVariance=8",
            "outbound.lengthVariance=-8",
            "outbound.lengthVariance=99999999999",
            "i2cp.gzip=perhaps",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_would_protect_less_than_was_asked_for_is_refused() {
        for bad in [
            "i2cp.leaseSetType=5",
            "i2cp.leaseSetType=7",
            "i2cp.leaseSetEncType=0",
            "i2cp.leaseSetEncType=6",
            "i2cp.encryptLeaseSet=true",
            "i2cp.leaseSetSecret=x",
            "i2cp.leaseSetAuthType=1",
            "i2cp.leaseSetPrivKey=x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("i2cp.leaseSetAuthType=0 i2cp.encryptLeaseSet=false i2cp.leaseSetEncType=4,0").is_ok());
    }

    #[test]
    fn access_lists_name_destinations_in_every_form() {
        let [a, b, c] = [Hash([1; 32]), Hash([2; 32]), Hash([3; 32])];
        let list = format!("\"{},{} {}\"", base64::encode(&a.0), base32::host_name(&b), base32::encode(&c.0));
        let only = Access::of(&line(&format!("i2cp.enableAccessList=true i2cp.accessList={list}"))).unwrap();
        let but = Access::of(&line(&format!("i2cp.enableBlackList=true i2cp.accessList={list}"))).unwrap();
        for hash in [a, b, c] {
            assert!(only.admits(Some(&hash)) && !but.admits(Some(&hash)));
        }
        let other = Hash([4; 32]);
        assert!(!only.admits(Some(&other)) && but.admits(Some(&other)));
        assert!(!only.admits(None) && but.admits(None));
        assert_eq!(Access::of(&line(&format!("i2cp.accessList={list}"))), Ok(Access::All));
        assert!(
            !Access::of(&line("i2cp.enableAccessList=true")).unwrap().admits(Some(&a)),
            "an empty list admits nobody"
        );
        for bad in ["i2cp.accessList=x", "i2cp.enableBlackList=true", "i2cp.accessList=AAAA"] {
            assert!(Access::of(&line(&format!("i2cp.enableAccessList=true {bad}"))).is_err(), "{bad}");
        }
        let many = (0..=SAM_ACCESS as u32).map(|n| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            base64::encode(&hash)
        });
        // As long a list fits into no line; the bound holds for what does.
        let line = Line {
            options: vec![
                ("i2cp.enableAccessList".into(), "true".into()),
                ("i2cp.accessList".into(), many.collect::<Vec<_>>().join(",")),
            ],
            ..Line::default()
        };
        assert!(Access::of(&line).is_err());
    }
}
