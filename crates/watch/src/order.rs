//! Subjects taken in order, and values probed in order: a sequential test of steps (Wald 1945).

use crate::finding::Bits;
use crate::record::Order;

/// log2 of likelihood ratios in 1/256 for a step upwards (.9 against .5) and downwards (.1 against .5).
const UP: i32 = 217;
const DOWN: i32 = -594;
/// The same for a step to a neighbour (.25 against 1/128) and elsewhere.
const NEAR: i32 = 1_280;
const FAR: i32 = -103;
/// So many steps of one record count.
const STEPS_MAX: u32 = 256;
const MAX: i32 = 120 << 8;

/// The steps of an actor.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Steps {
    upwards: i32,
    nearby: i32,
    /// Since one of them began.
    pub(crate) since_ms: u64,
    pub(crate) pairs: u64,
    pub(crate) ascending: u64,
    pub(crate) near: u64,
    /// Of these, in records that show nobody.
    pub(crate) blind: u64,
}

impl Steps {
    pub(crate) fn add(&mut self, order: &Order, blind: bool, at_ms: u64) {
        if order.pairs == 0 {
            return;
        }
        let pairs = order.pairs.min(STEPS_MAX);
        let ascending = order.ascending.min(pairs) as i32;
        let near = order.near.min(pairs) as i32;
        let rest = |count: i32| pairs as i32 - count;
        self.upwards = (self.upwards + ascending * UP + rest(ascending) * DOWN).clamp(0, MAX);
        self.nearby = (self.nearby + near * NEAR + rest(near) * FAR).clamp(0, MAX);
        if self.upwards == 0 && self.nearby == 0 {
            self.calm();
            return;
        }
        if self.pairs == 0 {
            self.since_ms = at_ms;
        }
        self.pairs += u64::from(pairs);
        self.ascending += ascending as u64;
        self.near += near as u64;
        if blind {
            self.blind += u64::from(pairs);
        }
    }

    /// The least of the two tests is worth less by the choice between them, and by the many steps a
    /// day at which it could begin.
    pub(crate) fn bits(&self) -> Bits {
        const PRICE: i32 = 7 << 8;
        Bits((self.upwards.max(self.nearby) - PRICE).max(0) as u32)
    }

    pub(crate) fn calm(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(ascending: u32, near: u32) -> Order {
        Order {
            pairs: 1,
            ascending,
            near,
        }
    }

    #[test]
    fn chance_is_no_walk_and_a_walk_is_one() {
        let mut steps = Steps::default();
        for n in 0..10_000_u64 {
            let bit = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63) as u32;
            steps.add(&step(bit, 0), false, n);
            assert!(steps.bits() < Bits(10 << 8), "{n}");
        }
        steps.calm();
        (0..40).for_each(|n| steps.add(&step(1, 0), false, n));
        assert!(steps.bits() > Bits(20 << 8));
    }

    #[test]
    fn neighbours_between_other_work_are_found() {
        let mut steps = Steps::default();
        for n in 0..100 {
            steps.add(&step(n % 2, u32::from(n % 4 == 0)), false, u64::from(n));
        }
        assert!(steps.bits() > Bits(30 << 8), "{steps:?}");
    }
}
