use std::cell::Cell;
use std::rc::Rc;

use super::*;

/// A call of a given weight that may be over.
#[derive(Clone, Debug)]
struct Fake {
    id: u64,
    weight: usize,
    over: Rc<Cell<bool>>,
}

impl Item for Fake {
    fn id(&self) -> u64 {
        self.id
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn offer(&self) -> bool {
        !self.over.get()
    }
}

fn fake(id: u64, weight: usize) -> Fake {
    Fake { id, weight, over: Rc::default() }
}

fn dispatcher(ranks: usize, credit: Credit, retries: u32, calls: u64) -> Dispatcher<Fake> {
    let mut dispatcher = Dispatcher::new(ranks, credit, retries);
    (0..ranks).for_each(|rank| dispatcher.ready(rank));
    (0..calls).for_each(|id| dispatcher.push(fake(id, 10)));
    dispatcher
}

/// All messages that can be sent.
fn batches(dispatcher: &mut Dispatcher<Fake>) -> Vec<(usize, Vec<u64>)> {
    let mut batch = Vec::new();
    let mut sent = Vec::new();
    while let Some(rank) = dispatcher.next_batch(&mut batch) {
        sent.push((rank, batch.iter().map(|call| call.id).collect()));
    }
    sent
}

const SHORT: Duration = Duration::from_micros(1);

#[test]
fn calls_go_out_in_order_one_to_each_rank_while_nothing_is_known() {
    let mut dispatcher = dispatcher(3, Credit::Adaptive, 0, 5);
    assert_eq!(batches(&mut dispatcher), [(0, vec![0]), (1, vec![1]), (2, vec![2])]);
    assert_eq!(dispatcher.answered(1, 1, Duration::from_secs(1)).unwrap().id, 1);
    assert_eq!(batches(&mut dispatcher), [(1, vec![3])]);
    assert_eq!((dispatcher.sent(), dispatcher.queued().count()), (3, 1));
}

#[test]
fn a_rank_that_is_not_ready_gets_nothing() {
    let mut dispatcher = Dispatcher::new(2, Credit::Fixed(1), 0);
    dispatcher.push(fake(1, 1));
    assert!(batches(&mut dispatcher).is_empty());
    dispatcher.ready(1);
    assert_eq!(batches(&mut dispatcher), [(1, vec![1])]);
}

#[test]
fn nothing_is_sent_ahead_while_a_rank_is_about_to_be_ready() {
    let mut dispatcher = Dispatcher::new(2, Credit::Fixed(2), 0);
    dispatcher.ready(0);
    (0..3).for_each(|id| dispatcher.push(fake(id, 1)));
    assert_eq!(batches(&mut dispatcher), [(0, vec![0])]);
    dispatcher.ready(1);
    assert_eq!(batches(&mut dispatcher), [(1, vec![1]), (0, vec![2])]);
}

#[test]
fn short_calls_are_packed_and_shared_out() {
    let mut dispatcher = dispatcher(2, Credit::Adaptive, 0, 202);
    assert_eq!(batches(&mut dispatcher).len(), 2);
    dispatcher.answered(0, 0, SHORT);
    dispatcher.answered(1, 1, SHORT);
    let sent = batches(&mut dispatcher);
    assert!(sent.iter().all(|(_, calls)| calls.len() <= PACKED));
    assert!(sent.iter().any(|(_, calls)| calls.len() > 8));
    let of = |rank| sent.iter().filter(|(to, _)| *to == rank).map(|(_, calls)| calls.len()).sum();
    let (first, second): (usize, usize) = (of(0), of(1));
    assert_eq!(first + second, 200);
    assert!(first.abs_diff(second) < 80, "{first} and {second}");
    let order: Vec<u64> = sent.into_iter().flat_map(|(_, calls)| calls).collect();
    assert!(order.is_sorted());
}

#[test]
fn large_calls_have_a_message_of_their_own_and_a_window() {
    let mut dispatcher = dispatcher(1, Credit::Fixed(8), 0, 0);
    (0..3).for_each(|id| dispatcher.push(fake(id, PACK)));
    dispatcher.push(fake(3, WINDOW));
    assert_eq!(batches(&mut dispatcher), [(0, vec![0]), (0, vec![1]), (0, vec![2])]);
    (0..3).for_each(|id| drop(dispatcher.answered(0, id, SHORT)));
    assert_eq!(batches(&mut dispatcher), [(0, vec![3])], "alone it may have any size");
}

#[test]
fn what_was_cancelled_is_not_sent() {
    let mut dispatcher = dispatcher(1, Credit::Fixed(4), 0, 3);
    dispatcher.queued().for_each(|call| call.over.set(call.id != 1));
    assert_eq!(batches(&mut dispatcher), [(0, vec![1])]);
    dispatcher.answered(0, 1, SHORT);
    assert!(dispatcher.is_idle());
}

#[test]
fn an_answer_that_nobody_waits_for_is_no_call() {
    let mut dispatcher = dispatcher(2, Credit::Fixed(1), 0, 2);
    batches(&mut dispatcher);
    assert!(dispatcher.answered(0, 1, SHORT).is_none(), "it is with another rank");
    assert!(dispatcher.answered(0, 77, SHORT).is_none());
    assert!(dispatcher.answered(9, 0, SHORT).is_none());
    assert_eq!(dispatcher.answered(0, 0, SHORT).unwrap().id, 0);
    assert!(dispatcher.answered(0, 0, SHORT).is_none());
}

#[test]
fn of_a_dead_rank_only_the_first_call_is_charged() {
    let mut dispatcher = dispatcher(2, Credit::Fixed(3), 0, 8);
    batches(&mut dispatcher); // 0 2 4 and 1 3 5
    dispatcher.answered(0, 0, SHORT);
    assert_eq!(dispatcher.first_of(0).unwrap().id, 2);
    let loss = dispatcher.lost(0).unwrap();
    assert_eq!((loss.failed.unwrap().id, loss.goes_on), (2, true));
    assert!(dispatcher.lost(0).is_none(), "known");
    let waiting: Vec<u64> = dispatcher.queued().map(|call| call.id).collect();
    assert_eq!(waiting, [4, 6, 7], "in front");
    [1, 3, 5].into_iter().for_each(|id| drop(dispatcher.answered(1, id, SHORT)));
    assert_eq!(batches(&mut dispatcher), [(1, vec![4]), (1, vec![6]), (1, vec![7])]);
    assert_eq!((dispatcher.alive(), dispatcher.dead()), (1, 1));
}

#[test]
fn a_call_that_kills_every_rank_ends_after_its_retries() {
    let mut dispatcher = dispatcher(4, Credit::Fixed(2), 2, 3);
    let mut died = 0;
    let failed = loop {
        let sent = batches(&mut dispatcher);
        let rank = sent.iter().find(|(_, calls)| calls[0] == 0).expect("it is the first").0;
        for (rank, calls) in sent {
            calls.iter().filter(|id| **id != 0).for_each(|id| {
                if dispatcher.first_of(rank).is_some_and(|first| first.id != 0) {
                    dispatcher.answered(rank, *id, SHORT);
                }
            });
        }
        died += 1;
        if let Some(failed) = dispatcher.lost(rank).unwrap().failed {
            break failed;
        }
    };
    assert_eq!((failed.id, died, dispatcher.alive()), (0, 3, 1));
}

#[test]
fn without_any_rank_everything_is_given_up() {
    let mut dispatcher = dispatcher(1, Credit::Fixed(2), 5, 3);
    batches(&mut dispatcher);
    let loss = dispatcher.lost(0).unwrap();
    assert_eq!((loss.failed.is_none(), loss.goes_on), (true, false));
    assert!(batches(&mut dispatcher).is_empty());
    assert!(dispatcher.take_sent().is_empty());
    let waiting: Vec<u64> = dispatcher.take_queue().iter().map(|call| call.id).collect();
    assert_eq!(waiting, [0, 1, 2]);
    assert!(dispatcher.is_idle());
}

#[test]
fn who_takes_what_is_pending_leaves_the_deaths_of_the_rest() {
    let mut dispatcher = dispatcher(3, Credit::Fixed(1), 1, 4);
    assert_eq!(batches(&mut dispatcher), [(0, vec![0]), (1, vec![1]), (2, vec![2])]);
    assert!(dispatcher.lost(0).unwrap().failed.is_none(), "its first death");
    let taken = dispatcher.take_pending(|call| call.id == 3);
    assert_eq!(taken.iter().map(|call| call.id).collect::<Vec<_>>(), [3]);
    dispatcher.answered(1, 1, SHORT);
    assert_eq!(batches(&mut dispatcher), [(1, vec![0])]);
    assert_eq!(dispatcher.lost(1).unwrap().failed.unwrap().id, 0, "its second");
}
