//! The messages that build tunnels. <https://geti2p.net/spec/i2np#msg-shorttunnelbuild>
//!
//! ShortTunnelBuild (type 25) and OutboundTunnelBuildReply (26): a count, and as many records of 218 bytes.
//! VariableTunnelBuild (23) and VariableTunnelBuildReply (24): a count, and as many records of 528 bytes. TunnelBuild (21)
//! and TunnelBuildReply (22): eight records of 528 bytes, without a count.

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::tunnel::build_record::{RECORD_LEN, Record};
use crate::tunnel::long_record;

/// The most records a build message has.
pub const MAX_RECORDS: usize = 8;

/// The body of the messages with short records.
#[derive(Clone, PartialEq, Eq)]
pub struct BuildRecords {
    records: Vec<Record>,
}

impl std::fmt::Debug for BuildRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} build records", self.records.len())
    }
}

impl BuildRecords {
    /// From 1 to [`MAX_RECORDS`] records.
    pub fn new(records: Vec<Record>) -> Result<Self, DecodeError> {
        check(records.len())?;
        Ok(Self { records })
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    pub fn records_mut(&mut self) -> &mut [Record] {
        &mut self.records
    }
}

impl Encode for BuildRecords {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(1 + self.records.len() * RECORD_LEN);
        out.put_u8(u8::try_from(self.records.len()).unwrap_or(u8::MAX));
        for record in &self.records {
            out.put(record);
        }
    }
}

impl Decode for BuildRecords {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = usize::from(r.u8("TunnelBuild num")?);
        check(count)?;
        let records = (0..count).map(|_| r.array("TunnelBuild record")).collect::<Result<_, _>>()?;
        Ok(Self { records })
    }
}

/// The body of the messages with long records, in its form with a count.
#[derive(Clone, PartialEq, Eq)]
pub struct LongBuildRecords {
    records: Vec<long_record::Record>,
}

impl std::fmt::Debug for LongBuildRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} long build records", self.records.len())
    }
}

impl LongBuildRecords {
    /// From 1 to [`MAX_RECORDS`] records.
    pub fn new(records: Vec<long_record::Record>) -> Result<Self, DecodeError> {
        check(records.len())?;
        Ok(Self { records })
    }

    /// Reads the form without a count, of exactly [`MAX_RECORDS`].
    pub fn from_fixed(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let records =
            (0..MAX_RECORDS).map(|_| r.array("TunnelBuild record")).collect::<Result<Vec<long_record::Record>, _>>()?;
        r.finish("TunnelBuild")?;
        Ok(Self { records })
    }

    /// Writes the form without a count.
    pub fn to_fixed(&self) -> Vec<u8> {
        self.records.concat()
    }

    pub fn records(&self) -> &[long_record::Record] {
        &self.records
    }

    pub fn records_mut(&mut self) -> &mut [long_record::Record] {
        &mut self.records
    }
}

impl Encode for LongBuildRecords {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(1 + self.records.len() * long_record::RECORD_LEN);
        out.put_u8(u8::try_from(self.records.len()).unwrap_or(u8::MAX));
        for record in &self.records {
            out.put(record);
        }
    }
}

impl Decode for LongBuildRecords {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = usize::from(r.u8("VariableTunnelBuild num")?);
        check(count)?;
        let records = (0..count).map(|_| r.array("VariableTunnelBuild record")).collect::<Result<_, _>>()?;
        Ok(Self { records })
    }
}

fn check(count: usize) -> Result<(), DecodeError> {
    match count {
        0 => Err(DecodeError::invalid("TunnelBuild num", "no records")),
        1..=MAX_RECORDS => Ok(()),
        _ => Err(DecodeError::TooLarge { what: "TunnelBuild num", limit: MAX_RECORDS }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_round_trips() {
        for count in 1..=MAX_RECORDS {
            let records = BuildRecords::new((0..count).map(|i| [i as u8; RECORD_LEN]).collect()).unwrap();
            let bytes = records.to_bytes();
            assert_eq!(bytes.len(), 1 + count * RECORD_LEN);
            assert_eq!(BuildRecords::from_bytes(&bytes), Ok(records));
        }
    }

    #[test]
    fn long_records_round_trip_with_and_without_a_count() {
        for count in 1..=MAX_RECORDS {
            let records = (0..count).map(|i| [i as u8; long_record::RECORD_LEN]).collect();
            let records = LongBuildRecords::new(records).unwrap();
            let bytes = records.to_bytes();
            assert_eq!(bytes.len(), 1 + count * long_record::RECORD_LEN);
            assert_eq!(LongBuildRecords::from_bytes(&bytes).as_ref(), Ok(&records));
            let fixed = LongBuildRecords::from_fixed(&records.to_fixed());
            assert_eq!(fixed.ok(), (count == MAX_RECORDS).then_some(records));
        }
        for (count, len) in [(0, 0), (9, 9 * 528), (4, 3 * 528), (4, 4 * 528 + 1), (4, 4 * 218)] {
            let mut bytes = vec![count];
            bytes.resize(1 + len, 1);
            assert!(LongBuildRecords::from_bytes(&bytes).is_err(), "T67: {count}, {len}");
        }
        assert!(LongBuildRecords::from_fixed(&[1; 8 * 528 + 1]).is_err());
    }

    /// Threats T67: counts 0, 9, 255, and a size that is not that of the count.
    #[test]
    fn t67_wrong_counts_and_sizes_are_refused() {
        for count in [0u8, 9, 255] {
            let mut bytes = vec![count];
            bytes.resize(1 + usize::from(count) * RECORD_LEN, 1);
            assert!(BuildRecords::from_bytes(&bytes).is_err(), "{count}");
        }
        for len in [0, 217, 219, 3 * RECORD_LEN, 5 * RECORD_LEN] {
            let mut bytes = vec![4];
            bytes.resize(1 + len, 1);
            assert!(BuildRecords::from_bytes(&bytes).is_err(), "{len}");
        }
        assert!(BuildRecords::new(vec![]).is_err());
        assert!(BuildRecords::new(vec![[0; RECORD_LEN]; 9]).is_err());
    }
}
