//! Logarithms in fixed point, the same on every platform: `ln` and `exp` of floats are not.

/// Entries of the table; interpolation between them errs by less than 2^-18.
const STEPS: usize = 256;

/// `log2(1 + k/256)` in 1/2^24, made at compile time by repeated squaring.
const TABLE: [u32; STEPS + 1] = table();

const fn table() -> [u32; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut k = 0;
    while k < STEPS {
        // The mantissa, 1 to 2, in 1/2^31.
        let mut mantissa: u64 = (1 << 31) + ((k as u64) << 23);
        let (mut log, mut bit): (u32, u32) = (0, 1 << 23);
        while bit > 0 {
            mantissa = (mantissa * mantissa) >> 31;
            if mantissa >= 1 << 32 {
                mantissa >>= 1;
                log |= bit;
            }
            bit >>= 1;
        }
        table[k] = log;
        k += 1;
    }
    table[STEPS] = 1 << 24;
    table
}

/// `log2(x)` in 1/65536; of 0: of 1.
pub(crate) fn log2(x: u64) -> i64 {
    let x = x.max(1);
    let whole = x.ilog2();
    // The mantissa without its leading one, in 1/2^32.
    let fraction = ((u128::from(x) << 32) >> whole) as u64 & 0xffff_ffff;
    let (place, rest) = ((fraction >> 24) as usize, fraction & 0xff_ffff);
    let (low, high) = (u64::from(TABLE[place]), u64::from(TABLE[place + 1]));
    let log = low + (((high - low) * rest) >> 24);
    (i64::from(whole) << 16) + (log >> 8) as i64
}

/// The integer square root, rounded down.
pub(crate) fn sqrt(x: u64) -> u64 {
    x.isqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_close_to_the_real_ones() {
        for x in (1..4096).chain([1 << 20, 3 << 40, u64::MAX / 3, u64::MAX]) {
            #[expect(clippy::cast_precision_loss, reason = "a comparison with floats")]
            let (ours, real) = (log2(x) as f64 / 65536.0, (x as f64).log2());
            assert!((ours - real).abs() < 5e-5, "{x}: {ours} {real}");
        }
        assert_eq!(log2(0), 0);
        assert_eq!(log2(1024), 10 << 16);
    }
}
