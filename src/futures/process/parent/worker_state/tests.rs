use super::*;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

fn ready_worker(allowance: Option<usize>) -> WorkerState<u32> {
    let mut worker = WorkerState::new();
    worker.start(allowance);
    assert!(worker.ready());
    worker
}

#[test]
fn a_death_leaves_one_call_in_doubt_and_the_others_unstarted() {
    let now = Instant::now();
    let mut worker = ready_worker(None);
    for call in 1..=3 {
        worker.dispatch(call, 10, now);
    }
    assert_eq!(worker.answer(1), Ok(Some(1)));
    let aftermath = worker.exited(|seq| seq == 2);
    assert_eq!(aftermath.in_doubt, [2]);
    assert_eq!(aftermath.unstarted, [3]);
    assert_eq!(aftermath.reason, None);
    assert_eq!(worker.phase(), WorkerPhase::Exited);
}

#[test]
fn calls_that_began_behind_a_lost_answer_do_not_go_back() {
    let mut worker = ready_worker(None);
    (1..=4).for_each(|call| worker.dispatch(call, 10, Instant::now()));
    let aftermath = worker.exited(|seq| seq <= 3);
    assert_eq!((aftermath.in_doubt, aftermath.unstarted), (vec![1, 2, 3], vec![4]));
}

#[test]
fn a_worker_whose_calls_are_all_over_can_be_told_to_end() {
    let mut worker = ready_worker(None);
    (1..=3).for_each(|call| worker.dispatch(call, 10, Instant::now()));
    assert_eq!(worker.take_back(0, |seq| seq != 2), [Some(1), None, Some(3)]);
    assert!(!worker.retire(|_| false));
    assert!(worker.retire(|call| *call == 2));
    assert_eq!(worker.phase(), WorkerPhase::Draining);
    assert_eq!(worker.answer(1), Ok(None));
    assert_eq!(worker.phase(), WorkerPhase::Draining);
    let aftermath = worker.exited(|_| false);
    assert!(aftermath.was_draining && aftermath.in_doubt.is_empty());
}

#[test]
fn a_call_that_was_not_run_does_not_wear_a_worker_out() {
    let mut worker = ready_worker(Some(1));
    worker.dispatch(1, 10, Instant::now());
    assert!(worker.is_worn_out());
    assert_eq!(worker.take_back(0, |_| true), [Some(1)]);
    assert_eq!(worker.answer(1), Ok(None));
    worker.skipped();
    assert!(!worker.is_worn_out());
    assert_eq!(worker.room(None), 1);
}

#[test]
fn a_death_before_the_first_call_began_leaves_none_in_doubt() {
    let mut worker = ready_worker(None);
    worker.dispatch(1, 10, Instant::now());
    let aftermath = worker.exited(|_| false);
    assert_eq!((aftermath.in_doubt, aftermath.unstarted), (vec![], vec![1]));
}

#[test]
fn a_call_that_was_killed_before_it_began_does_not_go_back() {
    let mut worker = ready_worker(None);
    worker.dispatch(1, 10, Instant::now());
    worker.dispatch(2, 10, Instant::now());
    assert!(worker.kill(Reason::Asked));
    let aftermath = worker.exited(|_| false);
    assert_eq!((aftermath.in_doubt, aftermath.unstarted), (vec![1], vec![2]));
}

#[test]
fn answers_out_of_order_are_refused() {
    let mut worker = ready_worker(None);
    assert_eq!(worker.answer(1), Err(OutOfOrder));
    worker.dispatch(1, 10, Instant::now());
    assert_eq!(worker.answer(2), Err(OutOfOrder));
    assert_eq!(worker.answer(1), Ok(Some(1)));
    assert_eq!(worker.answer(1), Err(OutOfOrder));
}

#[test]
fn the_depth_follows_the_service_time() {
    let start = Instant::now();
    let mut worker = ready_worker(None);
    assert_eq!(worker.room(None), 1, "nothing is known yet");
    worker.dispatch(1, 10, start);
    assert_eq!(worker.room(None), 0);
    assert_eq!(worker.answer(1), Ok(Some(1)));
    worker.answered(1, start + Duration::from_micros(20));
    assert_eq!(worker.room(None), 10);
    worker.dispatch(2, 10, start);
    assert_eq!(worker.answer(2), Ok(Some(2)));
    worker.answered(1, start + Duration::from_secs(1));
    assert_eq!(worker.room(None), 1, "slow calls are not queued behind each other");
    assert_eq!(worker.room(Some(1000)), MAX_DEPTH);
}

#[test]
fn an_allowance_limits_what_it_is_given() {
    let mut worker = ready_worker(Some(2));
    assert_eq!(worker.room(Some(8)), 2);
    worker.dispatch(1, 1, Instant::now());
    worker.dispatch(2, 1, Instant::now());
    assert_eq!(worker.room(Some(8)), 0);
    assert!(worker.is_worn_out());
    assert!(!worker.retire(|_| false), "not before its calls are answered");
    assert!(worker.answer(1).is_ok() && worker.answer(2).is_ok());
    assert!(worker.retire(|_| false));
    assert!(worker.exited(|_| false).was_draining);
}

#[test]
fn what_was_taken_back_is_neither_answered_nor_left_behind() {
    let mut worker = ready_worker(None);
    for call in 1..=4 {
        worker.dispatch(call, 1, Instant::now());
    }
    assert_eq!(worker.take_back(1, |seq| seq != 2), [None, Some(3), Some(4)]);
    assert_eq!(worker.answer(1), Ok(Some(1)));
    assert_eq!(worker.answer(2), Ok(Some(2)));
    assert_eq!(worker.answer(3), Ok(None));
    let aftermath = worker.exited(|_| true);
    assert!(aftermath.in_doubt.is_empty() && aftermath.unstarted.is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    Start,
    Ready,
    Dispatch,
    Answer,
    TakeBack(usize),
    Retire,
    Kill,
    GiveUp,
    Exit(bool),
    Clear,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Start),
        4 => Just(Event::Ready),
        8 => Just(Event::Dispatch),
        6 => Just(Event::Answer),
        1 => (0..2usize).prop_map(Event::TakeBack),
        1 => Just(Event::Retire),
        1 => Just(Event::Kill),
        1 => Just(Event::GiveUp),
        1 => proptest::bool::ANY.prop_map(Event::Exit),
        4 => Just(Event::Clear),
    ];
    proptest::collection::vec(event, 0..200)
}

proptest! {
    /// In any order of events each call comes out exactly once, a call that was begun or killed is
    /// never put back, and a worker that is being killed or has ended gets no call.
    #[test]
    fn every_call_comes_out_exactly_once(events in events()) {
        let now = Instant::now();
        let mut worker = WorkerState::new();
        let mut given = 0u32;
        let mut out = Vec::new();
        let mut answered = 0u64;
        for event in events {
            match event {
                Event::Start if worker.phase() == WorkerPhase::Empty => {
                    worker.start(Some(5));
                    answered = worker.next_seq() - 1;
                }
                Event::Ready => drop(worker.ready()),
                Event::Dispatch if worker.room(Some(4)) > 0 => {
                    worker.dispatch(given, 1, now);
                    given += 1;
                }
                Event::Answer => match worker.answer(answered + 1) {
                    Ok(call) => {
                        answered += 1;
                        worker.answered(1, now);
                        out.extend(call);
                    }
                    Err(OutOfOrder) => assert_eq!(worker.in_flight(), 0),
                },
                Event::TakeBack(keep) => out.extend(worker.take_back(keep, |_| true).into_iter().flatten()),
                Event::Retire if worker.retire(|_| false) => {
                    assert_eq!(worker.calls().count(), 0);
                    assert_eq!(worker.room(Some(4)), 0);
                }
                Event::Kill if worker.kill(Reason::Asked) => {
                    assert_eq!(worker.room(Some(4)), 0);
                    assert!(!worker.kill(Reason::Stop), "killed once");
                }
                Event::GiveUp => out.extend(worker.give_up()),
                Event::Exit(begun) if worker.is_alive() => {
                    let aftermath = worker.exited(|_| begun);
                    let asked = aftermath.reason == Some(Reason::Asked);
                    assert!(begun || aftermath.in_doubt.len() <= usize::from(asked));
                    out.extend(aftermath.in_doubt);
                    out.extend(aftermath.unstarted);
                    assert_eq!(worker.bytes(), 0);
                }
                Event::Clear if worker.phase() == WorkerPhase::Exited => worker.clear(),
                _ => {}
            }
        }
        if worker.is_alive() {
            let aftermath = worker.exited(|_| true);
            out.extend(aftermath.in_doubt);
            out.extend(aftermath.unstarted);
        }
        out.sort_unstable();
        assert_eq!(out, (0..given).collect::<Vec<_>>());
    }
}

#[test]
fn answers_of_brief_calls_come_together_and_others_do_not() {
    let start = Instant::now();
    let answered = |each: Duration, in_flight: u32| {
        let mut worker = ready_worker(None);
        (0..=in_flight).for_each(|call| worker.dispatch(call, 10, start));
        assert_eq!(worker.coalesce_limit(), 0, "nothing is known yet");
        worker.answer(1).unwrap();
        worker.answered(1, start + each);
        worker.coalesce_limit()
    };
    assert_eq!(answered(Duration::from_micros(2), 60), 25);
    assert_eq!(answered(Duration::from_micros(1), 10), 5, "it keeps something to do");
    assert_eq!(answered(Duration::from_micros(1), 1), 0, "somebody may wait for the last one");
    assert_eq!(answered(Duration::from_millis(1), 60), 0);
}
