//! Packets that come.

use super::{Received, Totals, Transfer, UPKEEP};
use crate::limits::transfer as limits;
use crate::time::{Instant, Now};
use ramson_wire::codec::DecodeError;
use ramson_wire::i2np::Message;
use ramson_wire::ssu2::{Ack, Block, Blocks};

impl Transfer {
    /// Whether a packet of this number is new: to be asked before it is opened. What is not is dropped, and not even
    /// acknowledged.
    pub(crate) fn accepts(&self, number: u32) -> bool {
        self.acks.accepts(number)
    }

    /// Bob has got SessionConfirmed, Alice's packet 0, which is to be acknowledged soon.
    pub(crate) fn handle_confirmed(&mut self, now: Now) {
        if self.acks.accepts(0) {
            self.acks.note(now.mono, 0, true, true, self.rtt.ack_delay());
        }
    }

    /// Takes in an opened packet that [`Transfer::accepts`] has let pass. Blocks that are not the data phase's own go into
    /// `others`, in their order.
    ///
    /// # Errors
    /// When the payload is malformed. What stands in front of the fault has been taken in.
    pub(crate) fn handle_packet<'a>(
        &mut self,
        now: Now,
        packet: Received,
        payload: &'a [u8],
        totals: &mut Totals,
        others: &mut Vec<Block<'a>>,
    ) -> Result<(), DecodeError> {
        let (mut wants, mut ends) = (false, false);
        let mut result = Ok(());
        for block in Blocks::new(payload) {
            let handled = block.and_then(|block| {
                wants |= block.is_ack_eliciting();
                ends |= matches!(block, Block::Termination(_));
                self.handle_block(now, block, totals, others)
            });
            if let Err(error) = handled {
                result = Err(error);
                break;
            }
        }
        self.echo_congestion |= packet.congested;
        let delay = self.rtt.ack_delay();
        self.acks.note(now.mono, packet.number, wants && !ends, packet.immediate_ack && !ends, delay);
        self.upkeep.get_or_insert(now.mono + UPKEEP);
        result
    }

    fn handle_block<'a>(
        &mut self,
        now: Now,
        block: Block<'a>,
        totals: &mut Totals,
        others: &mut Vec<Block<'a>>,
    ) -> Result<(), DecodeError> {
        match block {
            Block::I2np(bytes) => {
                let message = Message::decode_short(bytes)?;
                if self.reassembly.whole(now.mono, message.id) {
                    self.messages.push_back(message);
                }
            }
            Block::FirstFragment(fragment) => {
                let whole = self.reassembly.first(now.mono, &fragment, &mut totals.reassembling);
                self.messages.extend(whole);
            }
            Block::FollowOnFragment(fragment) => {
                let whole = self.reassembly.follow_on(now.mono, &fragment, &mut totals.reassembling);
                self.messages.extend(whole);
            }
            Block::Ack(ack) => self.handle_ack(now.mono, &ack),
            Block::Congestion(congestion) => {
                if congestion.ecn {
                    self.window.congestion_experienced(now.mono, &self.rtt);
                }
            }
            // The answer to a probe of ours; that it came is known by its acknowledgement.
            Block::PathResponse(data) if data == self.challenge => {}
            Block::Padding(_) | Block::Unknown(_) | Block::NextNonce(_) | Block::FirstPacketNumber(_) => {}
            other => others.push(other),
        }
        Ok(())
    }

    fn handle_ack(&mut self, now: Instant, ack: &Ack<'_>) {
        self.outcome.clear();
        if !self.recovery.acked(now, ack.ranges(), &mut self.rtt, &mut self.outcome) {
            self.stats.false_acks += 1;
            return;
        }
        ack.ranges().take(limits::ACK_RANGES_READ).for_each(|range| self.acks.arrived(&range));
        self.settle(now);
    }

    /// The next message that is whole. Call until `None` after [`Transfer::handle_packet`].
    pub(crate) fn poll_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }
}
