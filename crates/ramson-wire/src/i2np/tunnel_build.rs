//! ShortTunnelBuild (type 25) and OutboundTunnelBuildReply (type 26): a count, and as many records of 218 bytes.
//! <https://geti2p.net/spec/i2np#msg-shorttunnelbuild>
//!
//! The older build messages (types 21 to 24) are refused by the router; nobody on today's network needs them.

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::tunnel::build_record::{RECORD_LEN, Record};

/// The most records a build message has.
pub const MAX_RECORDS: usize = 8;

/// The body of both messages.
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
