//! Whether a thread that is about to wait can ever go on. Pure: no lock, no thread, no call.
//!
//! A blocked thread can move if what it waits for can: all of its calls or any of them. A call can
//! move if it is done, if nobody knows what it depends on, or if a thread can move that runs it or
//! may come to run it. What cannot be shown to move that way never will: the threads that can are
//! the least set with that property.

/// When a blocked thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// When all its calls are done.
    All,
    /// When any of them is, or might be what it waits for.
    Any,
}

/// What one awaited call depends on.
#[derive(Clone, Debug)]
pub(crate) enum Branch<N> {
    /// It is done, or moves by something that is not blocked.
    Moves,
    /// One of these blocked threads must go on: the one that runs it, or a worker of its pool.
    Needs(Vec<N>),
}

/// The blocked threads, as far as they can be reached.
pub(crate) trait Waits {
    type Node: Copy + Eq;
    fn mode(&self, thread: Self::Node) -> Mode;
    fn branches(&self, thread: Self::Node) -> Vec<Branch<Self::Node>>;
}

/// Returns whether `start` can move; if not, a path of threads from it that ends in a cycle.
pub(crate) fn can_move<W: Waits>(waits: &W, start: W::Node) -> Result<(), Vec<W::Node>> {
    let mut reached = vec![Reached::look(waits, start)];
    let mut next = 0;
    while let Some(thread) = reached.get(next) {
        next += 1;
        for needed in thread.needed() {
            if !reached.iter().any(|other| other.node == needed) {
                reached.push(Reached::look(waits, needed));
            }
        }
    }
    // Each round finds a thread that moves, or is the last.
    loop {
        let moving: Vec<_> = reached.iter().filter(|t| t.moves).map(|t| t.node).collect();
        if moving.contains(&start) {
            return Ok(());
        }
        let before = moving.len();
        for thread in &mut reached {
            thread.moves = thread.moves || thread.would_move(&moving);
        }
        if reached.iter().filter(|thread| thread.moves).count() == before {
            return Err(cycle(&reached, start));
        }
    }
}

struct Reached<N> {
    node: N,
    mode: Mode,
    branches: Vec<Branch<N>>,
    moves: bool,
}

impl<N: Copy + Eq> Reached<N> {
    fn look<W: Waits<Node = N>>(waits: &W, node: N) -> Self {
        Self { node, mode: waits.mode(node), branches: waits.branches(node), moves: false }
    }

    fn needed(&self) -> Vec<N> {
        let needs = self.branches.iter().filter_map(|branch| match branch {
            Branch::Moves => None,
            Branch::Needs(threads) => Some(threads),
        });
        needs.flatten().copied().collect()
    }

    fn would_move(&self, moving: &[N]) -> bool {
        let mut branches = self.branches.iter().map(|branch| match branch {
            Branch::Moves => true,
            Branch::Needs(threads) => threads.iter().any(|thread| moving.contains(thread)),
        });
        match self.mode {
            Mode::All => branches.all(|moves| moves),
            Mode::Any => branches.any(|moves| moves),
        }
    }
}

/// From a thread that is stuck to one that it waits for and that is stuck as well, until one comes
/// up again. There always is one: stuck threads wait for stuck threads.
fn cycle<N: Copy + Eq>(reached: &[Reached<N>], start: N) -> Vec<N> {
    let mut path = vec![start];
    loop {
        let last = path.last().copied().unwrap_or(start);
        let thread = reached.iter().find(|thread| thread.node == last);
        let stuck = |node: &N| reached.iter().any(|other| other.node == *node && !other.moves);
        let Some(next) = thread.and_then(|thread| thread.needed().into_iter().find(stuck)) else {
            return path;
        };
        path.push(next);
        if path[..path.len() - 1].contains(&next) {
            return path;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Threads by index: a mode, and branches.
    struct Table(Vec<(Mode, Vec<Branch<usize>>)>);

    impl Waits for Table {
        type Node = usize;
        fn mode(&self, thread: usize) -> Mode {
            self.0[thread].0
        }
        fn branches(&self, thread: usize) -> Vec<Branch<usize>> {
            self.0[thread].1.clone()
        }
    }

    /// Tries every set of threads: the stuck ones are the largest set in which nobody could move
    /// even if everybody outside of it did.
    fn stuck_by_brute_force(table: &Table) -> Vec<bool> {
        let threads = table.0.len();
        let mut stuck = 0_u32;
        for set in 0..1_u32 << threads {
            let outside = |thread: &usize| set & (1 << thread) == 0;
            let closed = (0..threads).filter(|thread| !outside(thread)).all(|thread| {
                let (mode, branches) = &table.0[thread];
                let mut moves = branches.iter().map(|branch| match branch {
                    Branch::Moves => true,
                    Branch::Needs(others) => others.iter().any(outside),
                });
                match mode {
                    Mode::All => !moves.all(|moves| moves),
                    Mode::Any => !moves.any(|moves| moves),
                }
            });
            if closed {
                stuck |= set; // a union of such sets is one as well
            }
        }
        (0..threads).map(|thread| stuck & (1 << thread) != 0).collect()
    }

    fn branch(threads: usize) -> impl Strategy<Value = Branch<usize>> {
        prop_oneof![
            1 => Just(Branch::Moves),
            5 => prop::collection::vec(0..threads, 1..4).prop_map(Branch::Needs),
        ]
    }

    fn table() -> impl Strategy<Value = Table> {
        (1..8_usize).prop_flat_map(|threads| {
            let mode = prop_oneof![Just(Mode::All), Just(Mode::Any)];
            let thread = (mode, prop::collection::vec(branch(threads), 1..4));
            prop::collection::vec(thread, threads).prop_map(Table)
        })
    }

    impl std::fmt::Debug for Table {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_list().entries(&self.0).finish()
        }
    }

    #[test]
    fn random_graphs_agree_with_the_brute_force_oracle() {
        // CONCURRENT_GRAPHS=100000 for the long run.
        let cases = std::env::var("CONCURRENT_GRAPHS").ok().and_then(|n| n.parse().ok());
        let config = ProptestConfig { cases: cases.unwrap_or(5_000), ..ProptestConfig::default() };
        let mut seen = [0_usize; 2];
        let mut runner = prop::test_runner::TestRunner::new(config);
        runner
            .run(&table(), |table| {
                for (thread, &stuck) in stuck_by_brute_force(&table).iter().enumerate() {
                    prop_assert_eq!(can_move(&table, thread).is_err(), stuck, "thread {}", thread);
                }
                Ok(())
            })
            .expect("the graph and the oracle agree");
        // The generator makes both kinds.
        let mut runner = prop::test_runner::TestRunner::deterministic();
        for _ in 0..100 {
            let tree = table().new_tree(&mut runner).expect("the strategy has no filter");
            let stuck = stuck_by_brute_force(&prop::strategy::ValueTree::current(&tree));
            seen[usize::from(stuck[0])] += 1;
        }
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    }

    #[test]
    fn the_cycle_of_a_stuck_thread_ends_where_it_was_before() {
        let table = Table(vec![
            (Mode::All, vec![Branch::Moves, Branch::Needs(vec![1])]),
            (Mode::Any, vec![Branch::Needs(vec![2])]),
            (Mode::All, vec![Branch::Needs(vec![1])]),
        ]);
        assert_eq!(can_move(&table, 0), Err(vec![0, 1, 2, 1]));
    }
}
