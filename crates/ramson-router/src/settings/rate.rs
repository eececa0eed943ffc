//! Rates with their unit, and shares in percent.

use serde::Deserialize;

/// `unlimited`, or bytes a second: a number and `KB/s`, `MB/s`, `GB/s`, `Kbit/s`, `Mbit/s` or `Gbit/s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Rate(pub(super) Option<u64>);

/// With less no tunnel works.
const LEAST: f64 = 16_000.0;

impl TryFrom<String> for Rate {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        let bad =
            "a rate is \"unlimited\", or a number with KB/s, MB/s, GB/s, Kbit/s, Mbit/s or Gbit/s, such as \"2 MB/s\"";
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(bad)?;
        let (number, unit) = text.split_at_checked(at).ok_or(bad)?;
        let unit = match unit {
            "KB/s" => 1e3,
            "MB/s" => 1e6,
            "GB/s" => 1e9,
            "Kbit/s" => 1e3 / 8.0,
            "Mbit/s" => 1e6 / 8.0,
            "Gbit/s" => 1e9 / 8.0,
            _ => return Err(bad),
        };
        let number = number.trim_end();
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(bad);
        }
        let bytes = number.parse::<f64>().map_err(|_| bad)? * unit;
        if bytes < LEAST { Err("a rate is at least 16 KB/s") } else { Ok(Self(Some(bytes as u64))) }
    }
}

/// 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub(super) struct Percent(pub(super) u8);

impl TryFrom<u8> for Percent {
    type Error = &'static str;

    fn try_from(n: u8) -> Result<Self, Self::Error> {
        if n <= 100 { Ok(Self(n)) } else { Err("a share is 0 to 100 percent") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        let rate = |text: &str| Rate::try_from(text.to_owned()).map(|rate| rate.0);
        assert_eq!(rate("unlimited"), Ok(None));
        for (text, bytes) in [
            ("16 KB/s", 16_000),
            ("512KB/s", 512_000),
            ("2 MB/s", 2_000_000),
            ("1.5 MB/s", 1_500_000),
            ("1 GB/s", 1_000_000_000),
            ("800 Kbit/s", 100_000),
            ("16 Mbit/s", 2_000_000),
            ("1 Gbit/s", 125_000_000),
        ] {
            assert_eq!(rate(text), Ok(Some(bytes)), "{text}");
        }
        for text in [
            "",
            "0",
            "100",
            "KB/s",
            "-1 MB/s",
            "1e3 MB/s",
            "2 mb/s",
            "2 MB",
            "2 MiB/s",
            "inf MB/s",
            "1..2 MB/s",
            "ß MB/s",
        ] {
            assert!(rate(text).unwrap_err().contains("such as"), "{text}");
        }
        assert!(rate("15.9 KB/s").unwrap_err().contains("at least") && rate("100 Kbit/s").is_err());
        assert!(rate(&format!("{} GB/s", "9".repeat(400))).is_ok_and(|rate| rate == Some(u64::MAX)));
    }
}
