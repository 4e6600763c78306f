//! Chance, from a seed: the same seed draws the same numbers for ever (SplitMix64).

/// A row of numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The row of a seed; `stream` tells several rows of one seed apart.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut chance = Self(seed ^ stream.wrapping_mul(0xA076_1D64_78BD_642F));
        chance.draw();
        chance
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if there is none.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// A number of this range, the end excluded.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        from + i64::try_from(self.below(span)).unwrap_or(0)
    }

    /// A number of this range, the end excluded. Each magnitude is as likely as the others, so small numbers are common.
    pub fn magnitude(&mut self, from: i64, to: i64) -> i64 {
        let (low, high) = (from.max(1), to.max(2));
        let bits = |n: i64| i64::from(64 - n.leading_zeros());
        let top = 1_i64 << self.between(bits(low), bits(high) + 1);
        self.between(low, top.max(low + 1)).clamp(from, to - 1)
    }

    /// From 0 to 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are exact in a double.
        #[allow(clippy::cast_precision_loss)]
        let bits = (self.draw() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T], otherwise: T) -> T {
        usize::try_from(self.below(of.len() as u64))
            .ok()
            .and_then(|n| of.get(n))
            .copied()
            .unwrap_or(otherwise)
    }
}
