//! Randomness, as one number.

use tollhouse_domain::agreement::NodeId;

/// SplitMix64: one number is the whole seed.
pub struct Randomness(u64);

impl Randomness {
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    /// So many times in a thousand.
    pub fn often(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let pick = self.below(of.len() as u64) as usize;
        of.get(pick).copied()
    }

    pub fn id(&mut self) -> NodeId {
        let (a, b) = (self.next().to_be_bytes(), self.next().to_be_bytes());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&a);
        id[8..].copy_from_slice(&b);
        NodeId(id)
    }
}
