//! Chance in integers: the same numbers on every platform, and from every compiler.
//!
//! Each day of each seat draws from a stream of its own, named by numbers. So a theft that is laid
//! over a life changes nothing else in it.

/// An odd number near 2^64 over the golden ratio: the step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// ln 2 in 1/65,536.
const LN_2: u64 = 45_426;
/// log2(1 + i/256) in 1/65,536.
const LOG_2: [u32; 257] = log_2();

const fn log_2() -> [u32; 257] {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 256 {
        // In 1/2^31; each squaring gives one binary digit of the logarithm.
        let mut x = (256 + i as u64) << 23;
        let (mut digits, mut n) = (0, 0);
        while n < 16 {
            x = (x * x) >> 31;
            digits <<= 1;
            if x >= 1 << 32 {
                x >>= 1;
                digits |= 1;
            }
            n += 1;
        }
        table[i] = digits;
        i += 1;
    }
    table[256] = 1 << 16;
    table
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number named by others.
pub(crate) fn named(parts: &[u64]) -> u64 {
    parts.iter().fold(STEP, |state, part| {
        mix(state.wrapping_add(*part).wrapping_add(STEP))
    })
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of a name.
    pub(crate) fn of(parts: &[u64]) -> Self {
        Self(named(parts))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// 0 to `n` - 1; 0 of none.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times of 1,000.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < u64::from(permille)
    }

    /// An exponential waiting time of this mean.
    pub(crate) fn wait(&mut self, mean: u64) -> u64 {
        let x = self.next() | 1;
        let zeros = x.leading_zeros();
        let digits = ((x << zeros) >> 55) & 255;
        let log = (LOG_2[digits as usize] + LOG_2[digits as usize + 1]) / 2;
        let minus_ln = ((u64::from(zeros) + 1) << 16).saturating_sub(u64::from(log)) * LN_2;
        ((u128::from(mean) * u128::from(minus_ln)) >> 32) as u64
    }

    /// A gamma variate of this whole shape, of this mean: `shape` 4 gives a standard deviation of
    /// half the mean.
    pub(crate) fn gamma(&mut self, shape: u64, mean: u64) -> u64 {
        (0..shape).map(|_| self.wait(mean)).sum::<u64>() / shape.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn waits_have_their_mean_and_spread() {
        let mut rng = Rng::of(&[1]);
        let n = 200_000;
        let waits: Vec<u64> = (0..n).map(|_| rng.wait(1000)).collect();
        let mean = waits.iter().sum::<u64>() / n;
        assert!((990..1010).contains(&mean), "{mean}");
        // Beyond the mean: 1 / e.
        let beyond = waits.iter().filter(|it| **it > 1000).count() as u64 * 1000 / n;
        assert!((360..376).contains(&beyond), "{beyond}");
    }

    #[test]
    fn gammas_of_shape_four_spread_by_half() {
        let mut rng = Rng::of(&[2]);
        let n = 100_000;
        let values: Vec<i64> = (0..n).map(|_| rng.gamma(4, 1000) as i64).collect();
        let mean = values.iter().sum::<i64>() / n;
        let variance = values.iter().map(|it| (it - mean).pow(2)).sum::<i64>() / n;
        assert!((990..1010).contains(&mean), "{mean}");
        assert!((240_000..260_000).contains(&variance), "{variance}");
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::of(&[3]);
        assert!((0..1000).all(|_| (3..=5).contains(&rng.between(3, 5))));
        assert_eq!(rng.below(0), 0);
        assert!(!rng.chance(0) && rng.chance(1000));
    }
}
