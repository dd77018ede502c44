//! Whether a thread that is about to wait can ever go on. Pure: no lock, no thread, no call.
//!
//! A blocked thread can move if what it waits for can: all of its calls or any of them. A call can
//! move if it is done, if nobody knows what it depends on, or if a thread can move that runs it or
//! may come to run it. What cannot be shown to move that way never will: the threads that can are
//! the least set with that property.
//!
//! A call made of others is a node of its own. Which of its members must end depends on how they
//! end: `join_all` with the first failure, `first_ok` with the first success. If all of them can
//! move, so can the group, whatever comes. If only some can, it [may](Outlook::MayMove): then it has
//! to be looked at again when one of them has ended.

/// A blocked thread, or a call made of others: when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// When all its calls are done.
    All,
    /// When any of them is, or might be what it waits for.
    Any,
    /// When enough of them are: at least one, at most all.
    Some,
}

/// What one awaited call depends on.
#[derive(Clone, Debug)]
pub(crate) enum Branch<N> {
    /// It is done, or moves by something that is not blocked.
    Moves,
    /// One of these must go on: the blocked thread that runs it, a worker of its pool, a group.
    Needs(Vec<N>),
}

/// Blocked threads and groups, as far as they can be reached.
pub(crate) trait Waits {
    type Node: Copy + Eq;
    fn mode(&self, node: Self::Node) -> Mode;
    fn branches(&self, node: Self::Node) -> Vec<Branch<Self::Node>>;
}

/// What is to be expected of a thread that is not stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// It can move, however calls end.
    Moves,
    /// It can, unless members of a group that have not ended yet end in the wrong way.
    MayMove,
}

/// Returns whether `start` can move; if not, a path of nodes from it that ends in a cycle.
pub(crate) fn can_move<W: Waits>(waits: &W, start: W::Node) -> Result<Outlook, Vec<W::Node>> {
    let mut reached = vec![Reached::look(waits, start)];
    let mut next = 0;
    while let Some(node) = reached.get(next) {
        next += 1;
        for needed in node.needed() {
            if !reached.iter().any(|other| other.node == needed) {
                reached.push(Reached::look(waits, needed));
            }
        }
    }
    for (outlook, some) in [(Outlook::Moves, Mode::All), (Outlook::MayMove, Mode::Any)] {
        spread(&mut reached, start, some);
        if reached.iter().any(|reached| reached.node == start && reached.moves) {
            return Ok(outlook);
        }
    }
    Err(cycle(&reached, start))
}

/// Marks what can move, with `some` in the place of [`Mode::Some`], until that is certain of `start`.
fn spread<N: Copy + Eq>(reached: &mut [Reached<N>], start: N, some: Mode) {
    // Each round finds something that moves, or is the last.
    loop {
        let moving: Vec<_> = reached.iter().filter(|t| t.moves).map(|t| t.node).collect();
        if moving.contains(&start) {
            return;
        }
        let before = moving.len();
        for node in reached.iter_mut() {
            node.moves = node.moves || node.would_move(&moving, some);
        }
        if reached.iter().filter(|node| node.moves).count() == before {
            return;
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
            Branch::Needs(nodes) => Some(nodes),
        });
        needs.flatten().copied().collect()
    }

    fn would_move(&self, moving: &[N], some: Mode) -> bool {
        let mut branches = self.branches.iter().map(|branch| match branch {
            Branch::Moves => true,
            Branch::Needs(nodes) => nodes.iter().any(|node| moving.contains(node)),
        });
        match if self.mode == Mode::Some { some } else { self.mode } {
            Mode::All => branches.all(|moves| moves),
            Mode::Any | Mode::Some => branches.any(|moves| moves),
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
    fn stuck_by_brute_force(table: &Table, some: Mode) -> Vec<bool> {
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
                match if *mode == Mode::Some { some } else { *mode } {
                    Mode::All => !moves.all(|moves| moves),
                    _ => !moves.any(|moves| moves),
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
            let mode = prop_oneof![Just(Mode::All), Just(Mode::Any), Just(Mode::Some)];
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
        let mut seen = [0_usize; 3];
        let mut runner = prop::test_runner::TestRunner::new(config);
        runner
            .run(&table(), |table| {
                let sure = stuck_by_brute_force(&table, Mode::All);
                let stuck = stuck_by_brute_force(&table, Mode::Any);
                for thread in 0..stuck.len() {
                    let expected = match (sure[thread], stuck[thread]) {
                        (false, _) => Some(Outlook::Moves),
                        (true, false) => Some(Outlook::MayMove),
                        (true, true) => None,
                    };
                    prop_assert_eq!(can_move(&table, thread).ok(), expected, "thread {}", thread);
                }
                Ok(())
            })
            .expect("the graph and the oracle agree");
        // The generator makes all three kinds.
        let mut runner = prop::test_runner::TestRunner::deterministic();
        for _ in 0..300 {
            let tree = table().new_tree(&mut runner).expect("the strategy has no filter");
            let table = prop::strategy::ValueTree::current(&tree);
            seen[can_move(&table, 0).map_or(2, |outlook| outlook as usize)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 5), "{seen:?}");
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
