//! Random numbers from a seed: the same seed always draws the same numbers (SplitMix64).

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of a seed. `stream` distinguishes several sequences of one seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut chance = Self(seed ^ stream.wrapping_mul(0xA076_1D64_78BD_642F));
        chance.draw();
        chance
    }

    /// Draws the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Draws a number below `n`; returns 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.draw() % n }
    }

    /// Draws a number in this range, excluding its end.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        from + i64::try_from(self.below(span)).unwrap_or(0)
    }

    /// Draws a number in this range, excluding its end. Each magnitude is equally likely, so small numbers
    /// are common.
    pub fn magnitude(&mut self, from: i64, to: i64) -> i64 {
        let (low, high) = (from.max(1), to.max(2));
        let bits = |n: i64| i64::from(64 - n.leading_zeros());
        let top = 1_i64 << self.between(bits(low), bits(high) + 1);
        self.between(low, top.max(low + 1)).clamp(from, to - 1)
    }

    /// Draws a number from 0 to 1, excluding 1.
    pub fn unit(&mut self) -> f64 {
        // A double holds 53 bits exactly.
        #[allow(clippy::cast_precision_loss)]
        let bits = (self.draw() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// Returns true with a probability of one in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Picks an element of `of`; `otherwise` if there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T], otherwise: T) -> T {
        usize::try_from(self.below(of.len() as u64))
            .ok()
            .and_then(|n| of.get(n))
            .copied()
            .unwrap_or(otherwise)
    }
}
