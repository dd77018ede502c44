//! Random numbers and orders, the same in each run.

/// A generator of random numbers.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn new() -> Self {
        Self(20)
    }

    /// 24 bits, such as the time of an event.
    pub fn time(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
        self.0 >> 40
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.time() as usize) % (last + 1));
        }
    }
}

/// The order of the peers in a round. It differs each time, since returned memory and cold caches cost
/// the peer that comes after a long turn of another process.
pub struct Turns {
    order: Vec<usize>,
    random: Random,
}

impl Turns {
    pub fn of(peers: usize) -> Self {
        Self { order: (0..peers).collect(), random: Random::new() }
    }

    pub fn next(&mut self) -> &[usize] {
        self.random.shuffle(&mut self.order);
        &self.order
    }
}
