//! Whether a session takes people in order: one after the other by telephone number, by customer number,
//! or along the syllabary, however slowly and whatever the SQL. Only where the plaintext is can that be
//! seen; what leaves here are three numbers.
//!
//! Invariants: no allocation and no search for a value but the first of a class in a statement; what is
//! kept of values is wiped with the session.

use event::Class;
use event::record::Order;
use zeroize::Zeroize;

/// Values of a class that a new one is compared with.
const KEPT: usize = 64;
/// So much further, a number is a neighbour.
const NEAR_MAX: u64 = 16;

/// Values of one class, as numbers.
struct Kept {
    ring: [u64; KEPT],
    count: usize,
    /// The first value of the statement before; 0: none.
    before: u64,
    /// The first value of this statement; 0: none yet.
    first: u64,
}

impl Kept {
    const NEW: Self = Self {
        ring: [0; KEPT],
        count: 0,
        before: 0,
        first: 0,
    };

    fn remember(&mut self, key: u64) {
        self.ring[self.count % KEPT] = key;
        self.count += 1;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.ring.zeroize();
        self.before.zeroize();
        self.first.zeroize();
    }
}

/// What a session saw and searched for, by class.
pub(crate) struct Sequence {
    kept: [Kept; 3],
    order: Order,
}

impl Default for Sequence {
    fn default() -> Self {
        Self {
            kept: [Kept::NEW, Kept::NEW, Kept::NEW],
            order: Order::default(),
        }
    }
}

impl Sequence {
    /// A value is shown or searched for. The first of its class in a statement is compared with those
    /// before it: what comes sorted within one result says nothing.
    pub(crate) fn saw(&mut self, class: Class, value: &str) {
        let (place, numeric) = match class {
            Class::Phone => (0, true),
            Class::CustomerNumber => (1, true),
            Class::Kana => (2, false),
            _ => return,
        };
        let key = if numeric { number(value) } else { text(value) };
        let kept = &mut self.kept[place];
        if key == 0 {
            return;
        }
        // What was searched for is shown, too: the same value is no step.
        if kept.first == 0 {
            kept.first = key;
            if kept.before != 0 && kept.before != key {
                self.order.pairs = self.order.pairs.saturating_add(1);
                self.order.ascending += u32::from(key > kept.before);
                let is_near =
                    |old: &u64| *old != 0 && (1..=NEAR_MAX).contains(&key.wrapping_sub(*old));
                self.order.near += u32::from(numeric && kept.ring.iter().any(is_near));
            }
        }
        kept.remember(key);
    }

    /// The statement is over.
    pub(crate) fn next_statement(&mut self) {
        for kept in &mut self.kept {
            if kept.first != 0 {
                kept.before = std::mem::take(&mut kept.first);
            }
        }
    }

    /// What was compared since it was last asked.
    pub(crate) fn take(&mut self) -> Order {
        std::mem::take(&mut self.order)
    }
}

/// The digits as a number; 0: there are none, or too many.
fn number(value: &str) -> u64 {
    let mut number = 0_u64;
    for byte in value.bytes().filter(u8::is_ascii_digit) {
        let Some(next) = number.checked_mul(10) else {
            return 0;
        };
        number = next.saturating_add(u64::from(byte - b'0'));
    }
    number
}

/// The first 8 bytes, as a number that sorts as they do.
fn text(value: &str) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes
        .iter_mut()
        .zip(value.bytes().filter(|byte| *byte != b' '))
    {
        *to = from;
    }
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of statements with these values.
    fn of(class: Class, statements: &[&[&str]]) -> (u32, u32, u32) {
        let mut sequence = Sequence::default();
        for values in statements {
            values.iter().for_each(|value| sequence.saw(class, value));
            sequence.next_statement();
        }
        let order = sequence.take();
        assert_eq!(sequence.take(), Order::default(), "told once");
        (order.pairs, order.ascending, order.near)
    }

    #[test]
    fn a_walk_by_number_is_seen_whatever_is_shown() {
        let phone = Class::Phone;
        let walk: [&[&str]; 4] = [
            &["090-0000-0001", "+819000000001"],
            &["090-0000-0002"],
            &["090-0000-0009"],
            &["090-0000-0500"],
        ];
        assert_eq!(of(phone, &walk), (3, 3, 2));
        // Callers come as they like.
        let calls: [&[&str]; 3] = [&["090-5"], &["080-1"], &["090-900"]];
        assert_eq!(of(phone, &calls), (2, 1, 0));
    }

    #[test]
    fn one_sorted_result_says_nothing_and_pages_do() {
        let number = Class::CustomerNumber;
        assert_eq!(of(number, &[&["1", "2", "3", "4"]]), (0, 0, 0));
        let pages: [&[&str]; 3] = [&["1", "2"], &["3", "4"], &["5", "6"]];
        assert_eq!(of(number, &pages), (2, 2, 2));
        // The same customer again is no step.
        assert_eq!(of(number, &[&["7"], &["7"], &["7"]]), (0, 0, 0));
    }

    #[test]
    fn readings_ascend_and_other_classes_say_nothing() {
        let along: [&[&str]; 3] = [&["アオキ"], &["イトウ"], &["ウエダ"]];
        assert_eq!(of(Class::Kana, &along), (2, 2, 0));
        assert_eq!(of(Class::Name, &along), (0, 0, 0));
        assert_eq!(
            of(Class::Phone, &[&["不明"], &["99999999999999999999999"]]),
            (0, 0, 0)
        );
    }
}
