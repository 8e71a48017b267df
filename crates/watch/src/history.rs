//! What a role has shown to one person in a session, an hour, a day, over the year before: the burst's
//! measure. Windows that were themselves found are not taken in.

use event::Role;

use crate::finding::{Bits, Window};
use crate::fixed::log2;

/// Counts are kept by size: below 16 each its own, then eight sizes an octave.
const SIZES: usize = 16 + 8 * 28;
/// Blocks of 28 days that count.
const BLOCKS: usize = 13;

/// History of one role.
#[derive(Clone, Debug)]
pub(crate) struct History {
    windows: [Counts; 3],
    /// The most that is usual without any history: an hour, a day.
    floor: [u64; 3],
}

#[derive(Clone, Debug)]
struct Counts {
    blocks: Vec<[u32; SIZES]>,
    all: Box<[u32; SIZES]>,
    number: u64,
    /// The greatest usual one; beyond it lies at most one in 5,000.
    usual_max: u64,
    /// Of how many that was measured: what came since says nothing before it is measured, too.
    measured: u64,
}

fn size(count: u64) -> usize {
    if count < 16 {
        return count as usize;
    }
    let octave = count.ilog2() as usize;
    let eighth = (count >> (octave - 3)) as usize & 7;
    (16 + (octave - 4) * 8 + eighth).min(SIZES - 1)
}

/// The greatest count of a size.
fn greatest(size: usize) -> u64 {
    if size < 16 {
        return size as u64;
    }
    let (octave, eighth) = ((size - 16) / 8 + 4, (size - 16) as u64 % 8);
    ((8 + eighth + 1) << (octave - 3)) - 1
}

impl Counts {
    fn new() -> Self {
        Self {
            blocks: vec![[0; SIZES]],
            all: Box::new([0; SIZES]),
            number: 0,
            usual_max: 0,
            measured: 0,
        }
    }

    fn add(&mut self, count: u64) {
        let size = size(count);
        if let Some(block) = self.blocks.last_mut() {
            block[size] += 1;
            self.all[size] += 1;
            self.number += 1;
        }
    }

    fn next_block(&mut self) {
        self.blocks.push([0; SIZES]);
        if self.blocks.len() > BLOCKS {
            let old = self.blocks.remove(0);
            for (all, old) in self.all.iter_mut().zip(old) {
                *all -= old;
                self.number -= u64::from(old);
            }
        }
    }

    fn measure(&mut self) {
        self.measured = self.number;
        let beyond = self.number / 5_000;
        let mut above = 0;
        self.usual_max = 0;
        for place in (0..SIZES).rev() {
            above += u64::from(self.all[place]);
            if above > beyond {
                self.usual_max = greatest(place);
                break;
            }
        }
    }
}

impl History {
    pub(crate) fn new(role: Role) -> Self {
        let floor = match role {
            Role::Operator | Role::Supervisor => [150, 40, 150],
            _ => [40, 20, 40],
        };
        Self {
            windows: [Counts::new(), Counts::new(), Counts::new()],
            floor,
        }
    }

    /// Takes in a window that is over.
    pub(crate) fn add(&mut self, window: Window, count: u64) {
        if count > 0 {
            self.windows[window as usize].add(count);
        }
    }

    /// The end of a day: looks at what is usual anew.
    pub(crate) fn measure(&mut self) {
        self.windows.iter_mut().for_each(Counts::measure);
    }

    /// The end of 28 days.
    pub(crate) fn next_block(&mut self) {
        self.windows.iter_mut().for_each(Counts::next_block);
    }

    /// The most that is usual.
    pub(crate) fn usual_max(&self, window: Window) -> u64 {
        let counts = &self.windows[window as usize];
        if counts.measured < 200 {
            return counts.usual_max.max(self.floor[window as usize]);
        }
        counts.usual_max.max(self.floor[window as usize] / 4)
    }

    /// How surprising so many are: as rare as history is long, and for each doubling beyond what is
    /// usual six bits more.
    pub(crate) fn bits(&self, window: Window, count: u64) -> Bits {
        let usual = self.usual_max(window).max(1);
        if count <= usual {
            return Bits(0);
        }
        let rare = log2(self.windows[window as usize].measured.min(4_096) + 1) * 2 / 3;
        let beyond = (log2(count) - log2(usual)) * 6;
        Bits(((rare + beyond).clamp(0, 200 << 16) >> 8) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_order_and_hold_their_counts() {
        for count in 0..100_000 {
            assert!(size(count) <= size(count + 1));
            assert!(greatest(size(count)) >= count);
            assert!(count < 16 || greatest(size(count)) * 8 < count * 9 + 8);
        }
        assert_eq!(size(u64::MAX), SIZES - 1);
    }

    #[test]
    fn a_burst_is_beyond_what_the_role_does() {
        let mut history = History::new(Role::Operator);
        for day in 0..10_000 {
            history.add(Window::Day, 40 + day % 60);
        }
        history.measure();
        assert!((99..120).contains(&history.usual_max(Window::Day)));
        assert_eq!(history.bits(Window::Day, 90), Bits(0));
        assert!(history.bits(Window::Day, 400) > Bits(15 << 8));
        let mut unmeasured = History::new(Role::Operator);
        (0..1_000).for_each(|_| unmeasured.add(Window::Hour, 12));
        assert_eq!(unmeasured.usual_max(Window::Hour), 40);
        let none = History::new(Role::Administrator);
        assert!(none.bits(Window::Hour, 200) > Bits(15 << 8));
        assert!(none.bits(Window::Hour, 30) < Bits(8 << 8));
    }
}
