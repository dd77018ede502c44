//! Whether a thread that is about to wait can ever go on. Pure: no lock, no thread, no call.
//!
//! A node is a blocked thread, a pool or a call made of others. It has branches: a branch moves by
//! itself, or needs another node. Depending on the node, it moves when any of its branches does, or
//! when all of them do. The nodes that move are the least set with that property; all others are
//! stuck for ever.
//!
//! The search is lazy and linear. It asks for one branch after the other, enters each node once,
//! stops at the first branch that settles a node, and ends as soon as the first node is settled.

use std::collections::HashMap;
use std::hash::Hash;

/// One thing that a node depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch<N> {
    /// A thing that is not blocked, or has ended.
    Moves,
    /// It moves if this node does.
    Needs(N),
}

/// The graph, explored on demand.
pub(crate) trait Waits {
    type Node: Copy + Eq + Hash;

    /// Whether `node` moves only if all its branches do, not just one.
    fn needs_all(&self, node: Self::Node) -> bool;

    /// The branch of `node` after the position `looked_at`, which is 0 at first; and the position
    /// of that branch. `None` after the last one.
    fn next_branch(
        &mut self,
        node: Self::Node,
        looked_at: usize,
    ) -> Option<(Branch<Self::Node>, usize)>;
}

/// Why a node cannot move.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stuck<N> {
    /// A path from the first node to one that is on the path already.
    pub(crate) path: Vec<N>,
    /// All stuck nodes, in the order in which they were reached.
    pub(crate) all: Vec<N>,
}

/// Finds out whether `start` can move.
pub(crate) fn can_move<W: Waits>(waits: &mut W, start: W::Node) -> Result<(), Stuck<W::Node>> {
    let mut search = Search { nodes: Vec::new(), known: HashMap::new() };
    let first = search.add(waits, start);
    let mut path = vec![first];
    while let Some(&index) = path.last() {
        match search.go_on(waits, index) {
            Some(deeper) => path.push(deeper),
            None => drop(path.pop()),
        }
        if search.nodes[first].moves {
            return Ok(());
        }
    }
    Err(search.stuck(first))
}

struct Reached<N> {
    node: N,
    needs_all: bool,
    moves: bool,
    /// All its branches were seen.
    exhausted: bool,
    looked_at: usize,
    needs: Vec<usize>,
    /// How many of `needs` are not known to move.
    open: usize,
    needed_by: Vec<usize>,
}

struct Search<N> {
    nodes: Vec<Reached<N>>,
    known: HashMap<N, usize>,
}

impl<N: Copy + Eq + Hash> Search<N> {
    fn add<W: Waits<Node = N>>(&mut self, waits: &W, node: N) -> usize {
        let index = self.nodes.len();
        self.known.insert(node, index);
        self.nodes.push(Reached {
            node,
            needs_all: waits.needs_all(node),
            moves: false,
            exhausted: false,
            looked_at: 0,
            needs: Vec::new(),
            open: 0,
            needed_by: Vec::new(),
        });
        index
    }

    /// Asks for further branches of a node until it is settled; or returns a node to be explored
    /// first.
    fn go_on<W: Waits<Node = N>>(&mut self, waits: &mut W, index: usize) -> Option<usize> {
        loop {
            let here = &self.nodes[index];
            if here.moves || here.exhausted {
                return None;
            }
            let Some((branch, looked_at)) = waits.next_branch(here.node, here.looked_at) else {
                self.nodes[index].exhausted = true;
                self.settle(index);
                return None;
            };
            self.nodes[index].looked_at = looked_at;
            match branch {
                Branch::Moves => self.has_moving_branch(index),
                Branch::Needs(node) => {
                    let known = self.known.get(&node).copied();
                    if known.is_some_and(|known| self.nodes[known].moves) {
                        self.has_moving_branch(index);
                        continue;
                    }
                    let needed = known.unwrap_or_else(|| self.add(waits, node));
                    self.nodes[index].needs.push(needed);
                    self.nodes[index].open += 1;
                    self.nodes[needed].needed_by.push(index);
                    if known.is_none() {
                        return Some(needed);
                    }
                }
            }
        }
    }

    fn has_moving_branch(&mut self, index: usize) {
        if !self.nodes[index].needs_all {
            self.spread(index);
        }
    }

    /// Decides whether a node moves, after all its branches were seen.
    fn settle(&mut self, index: usize) {
        let node = &self.nodes[index];
        // A node without branches waits for nothing.
        if node.open == 0 && (node.needs_all || node.needs.is_empty()) {
            self.spread(index);
        }
    }

    /// Marks a node as moving, and all nodes that move because of it.
    fn spread(&mut self, index: usize) {
        let mut moving = vec![index];
        while let Some(index) = moving.pop() {
            if std::mem::replace(&mut self.nodes[index].moves, true) {
                continue;
            }
            for by in std::mem::take(&mut self.nodes[index].needed_by) {
                let node = &mut self.nodes[by];
                node.open -= 1;
                if !node.needs_all || (node.exhausted && node.open == 0) {
                    moving.push(by);
                }
            }
        }
    }

    fn stuck(&self, first: usize) -> Stuck<N> {
        let mut path = vec![first];
        let mut seen = vec![false; self.nodes.len()];
        loop {
            let last = path.last().copied().unwrap_or(first);
            // There always is one: a stuck node needs a stuck node.
            let next = self.nodes[last].needs.iter().find(|next| !self.nodes[**next].moves);
            let again = std::mem::replace(&mut seen[last], true);
            match next {
                Some(next) if !again => path.push(*next),
                _ => break,
            }
        }
        let node = |index: &usize| self.nodes[*index].node;
        let stuck = self.nodes.iter().filter(|node| !node.moves);
        Stuck { path: path.iter().map(node).collect(), all: stuck.map(|node| node.node).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Nodes by index: whether they need all, and branches.
    #[derive(Debug)]
    struct Table {
        nodes: Vec<(bool, Vec<Branch<usize>>)>,
        /// How many branches were asked for.
        asked: usize,
    }

    impl Waits for Table {
        type Node = usize;
        fn needs_all(&self, node: usize) -> bool {
            self.nodes[node].0
        }
        fn next_branch(&mut self, node: usize, at: usize) -> Option<(Branch<usize>, usize)> {
            self.asked += 1;
            self.nodes[node].1.get(at).map(|branch| (*branch, at + 1))
        }
    }

    /// Tries every set of nodes: the stuck ones are the largest set in which no node could move even
    /// if everybody outside of it did.
    fn stuck_by_brute_force(table: &Table) -> Vec<bool> {
        let nodes = table.nodes.len();
        let mut stuck = 0_u32;
        for set in 0..1_u32 << nodes {
            let outside = |node: usize| set & (1 << node) == 0;
            let closed = (0..nodes).filter(|node| !outside(*node)).all(|node| {
                let (needs_all, branches) = &table.nodes[node];
                let mut moves = branches.iter().map(|branch| match branch {
                    Branch::Moves => true,
                    Branch::Needs(other) => outside(*other),
                });
                if *needs_all { !moves.all(|moves| moves) } else { !moves.any(|moves| moves) }
            });
            if closed {
                stuck |= set; // a union of such sets is one as well
            }
        }
        (0..nodes).map(|node| stuck & (1 << node) != 0).collect()
    }

    fn branch(nodes: usize) -> impl Strategy<Value = Branch<usize>> {
        prop_oneof![1 => Just(Branch::Moves), 5 => (0..nodes).prop_map(Branch::Needs)]
    }

    fn table() -> impl Strategy<Value = Table> {
        (1..9_usize).prop_flat_map(|nodes| {
            let node = (any::<bool>(), prop::collection::vec(branch(nodes), 1..5));
            prop::collection::vec(node, nodes).prop_map(|nodes| Table { nodes, asked: 0 })
        })
    }

    #[test]
    fn random_graphs_agree_with_the_brute_force_oracle() {
        // CONCURRENT_GRAPHS=100000 for the long run.
        let cases = std::env::var("CONCURRENT_GRAPHS").ok().and_then(|n| n.parse().ok());
        let config = ProptestConfig { cases: cases.unwrap_or(5_000), ..ProptestConfig::default() };
        let mut runner = prop::test_runner::TestRunner::new(config);
        let mut seen = [0_usize; 2];
        runner
            .run(&table(), |mut table| {
                let stuck = stuck_by_brute_force(&table);
                for node in 0..stuck.len() {
                    match can_move(&mut table, node) {
                        Ok(()) => prop_assert!(!stuck[node], "node {} is stuck", node),
                        Err(found) => {
                            prop_assert!(stuck[node], "node {} moves", node);
                            prop_assert!(found.all.iter().all(|node| stuck[*node]));
                            let (last, before) = found.path.split_last().expect("has the start");
                            prop_assert_eq!(found.path[0], node);
                            prop_assert!(before.contains(last));
                        }
                    }
                }
                Ok(())
            })
            .expect("the graph and the oracle agree");
        // The generator makes both kinds.
        let mut runner = prop::test_runner::TestRunner::deterministic();
        for _ in 0..300 {
            let tree = table().new_tree(&mut runner).expect("the strategy has no filter");
            let mut table = prop::strategy::ValueTree::current(&tree);
            seen[usize::from(can_move(&mut table, 0).is_ok())] += 1;
        }
        assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
    }

    #[test]
    fn the_cycle_of_a_stuck_node_ends_where_it_was_before() {
        let nodes = vec![
            (true, vec![Branch::Moves, Branch::Needs(1)]),
            (false, vec![Branch::Needs(2)]),
            (true, vec![Branch::Needs(1)]),
        ];
        let found = can_move(&mut Table { nodes, asked: 0 }, 0).expect_err("it is stuck");
        assert_eq!(found.path, [0, 1, 2, 1]);
        assert_eq!(found.all, [0, 1, 2]);
    }

    #[test]
    fn a_chain_is_looked_at_once_and_a_branch_that_moves_ends_the_search() {
        let chain = |length: usize, last| {
            let mut nodes: Vec<_> =
                (1..length).map(|next| (true, vec![Branch::Needs(next)])).collect();
            nodes.push((true, vec![last]));
            Table { nodes, asked: 0 }
        };
        let mut table = chain(10_000, Branch::Moves);
        assert!(can_move(&mut table, 0).is_ok());
        assert!(table.asked <= 20_000, "{}", table.asked);
        let mut table = chain(10_000, Branch::Needs(0));
        assert!(can_move(&mut table, 0).is_err());
        assert!(table.asked <= 20_000, "{}", table.asked);
        // One that moves beside many that need a closer look.
        let mut table = chain(10_000, Branch::Needs(1));
        table.nodes[0] = (false, vec![Branch::Moves, Branch::Needs(1)]);
        assert!(can_move(&mut table, 0).is_ok());
        assert_eq!(table.asked, 1);
    }
}
