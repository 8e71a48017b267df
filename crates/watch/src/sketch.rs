//! Sketches of sets: distinct counts and unions in constant memory. Budgets stay exact; these serve
//! detection only.

/// A hash of a subject of a client: keys come from a PRF or a hash already, this only mixes.
pub(crate) fn mix(client: u32, key: u64) -> u64 {
    let mut x = key ^ (u64::from(client) << 40) ^ u64::from(client);
    // The finaliser of splitmix64 (Steele, Lea, Flood 2014).
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The k least hashes of a set (theta sketch; Bar-Yossef et al. 2002, Dasgupta et al. 2016).
#[derive(Clone, Debug, Default)]
pub(crate) struct Theta {
    /// Ascending, distinct, at most [`Theta::K`].
    least: Vec<u64>,
}

impl Theta {
    /// The estimate's standard error is about 1/sqrt(K): 12 %.
    pub(crate) const K: usize = 64;

    pub(crate) fn add(&mut self, hash: u64) {
        if self.least.len() == Self::K && hash >= self.least[Self::K - 1] {
            return;
        }
        if let Err(place) = self.least.binary_search(&hash) {
            self.least.truncate(Self::K - 1);
            self.least.insert(place, hash);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for &hash in &other.least {
            self.add(hash);
        }
    }

    /// How many distinct ones were added.
    pub(crate) fn count(&self) -> u64 {
        let Some(&last) = self.least.get(Self::K - 1) else {
            return self.least.len() as u64;
        };
        let estimate = ((Self::K as u128 - 1) << 64) / u128::from(last.max(1));
        u64::try_from(estimate).unwrap_or(u64::MAX)
    }

    pub(crate) fn clear(&mut self) {
        self.least.clear();
    }
}

/// Which subjects were seen before, where records do not say: a Bloom filter (Bloom 1970) that
/// begins anew when it is half full. Says "seen" of a new one at most at one in four.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    bits: Box<[u64]>,
    set: u32,
}

impl Seen {
    const WORDS: usize = 4096;

    pub(crate) fn new() -> Self {
        Self {
            bits: vec![0; Self::WORDS].into_boxed_slice(),
            set: 0,
        }
    }

    /// Adds one; whether it is new.
    pub(crate) fn add(&mut self, hash: u64) -> bool {
        if self.set as usize > Self::WORDS * 32 {
            self.bits.fill(0);
            self.set = 0;
        }
        let mut new = false;
        for place in [hash as usize, (hash >> 32) as usize] {
            let (word, bit) = ((place >> 6) % Self::WORDS, 1_u64 << (place & 63));
            if self.bits[word] & bit == 0 {
                self.bits[word] |= bit;
                self.set += 1;
                new = true;
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_counts_are_within_a_third() {
        for n in [10, 64, 1_000, 100_000] {
            let mut sketch = Theta::default();
            for key in (0..n).chain(0..n / 2) {
                sketch.add(mix(7, key));
            }
            let count = sketch.count();
            assert!(count * 3 > n * 2 && count * 3 < n * 4, "{n}: {count}");
        }
    }

    #[test]
    fn a_union_counts_once() {
        let (mut a, mut b) = (Theta::default(), Theta::default());
        (0..6_000).for_each(|key| a.add(mix(1, key)));
        (3_000..9_000).for_each(|key| b.add(mix(1, key)));
        a.merge(&b);
        assert!((6_000..12_000).contains(&a.count()), "{}", a.count());
    }

    #[test]
    fn what_was_seen_is_not_new() {
        let mut seen = Seen::new();
        let new = (0..20_000).filter(|&key| seen.add(mix(1, key))).count();
        assert!(new > 17_000, "{new}");
        assert!((19_000..20_000).all(|key| !seen.add(mix(1, key))));
    }
}
