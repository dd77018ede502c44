//! In which order calls leave the queue.

use std::sync::{Arc, Mutex, mpsc};

use concurrent::Error;
use concurrent::futures::{Discipline, Future, ShutdownOptions, ThreadPoolExecutor};

use crate::support::{Busy, bounded, builder, pool, timely};

// F57: calls start in the order they were submitted
#[test]
fn one_worker_runs_calls_in_the_order_they_came() {
    timely(|| {
        let pool = pool(1);
        let busy = Busy::on(&pool);
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..500 {
            let order = Arc::clone(&order);
            drop(pool.spawn(move || order.lock().unwrap().push(n)).unwrap());
        }
        busy.let_go();
        pool.shutdown();
        assert_eq!(*order.lock().unwrap(), (0..500).collect::<Vec<_>>());
    });
}

/// The order in which calls run that are submitted in this order of priorities.
fn order(pool: &ThreadPoolExecutor, priorities: &[i32]) -> Vec<usize> {
    let busy = Busy::on(pool);
    let (note, notes) = mpsc::channel();
    for (index, &priority) in priorities.iter().enumerate() {
        let note = note.clone();
        drop(pool.spawn_with_priority(priority, move || note.send(index)).unwrap());
    }
    drop(note);
    busy.finish();
    notes.iter().collect()
}

#[test]
fn lower_numbers_start_first_and_equal_ones_in_the_order_they_came() {
    timely(|| {
        let priorities = [3, -1, 3, 0, -1, i32::MAX, i32::MIN, 0];
        let expected = [6, 1, 4, 3, 7, 0, 2, 5];
        for builder in [builder(1), bounded(100)] {
            let pool = builder.discipline(Discipline::Priority).build().unwrap();
            assert_eq!(order(&pool, &priorities), expected);
            assert_eq!(order(&pool, &priorities), expected);
        }
    });
}

#[test]
fn calls_without_a_priority_have_0() {
    timely(|| {
        let pool = builder(1).discipline(Discipline::Priority).build().unwrap();
        let busy = Busy::on(&pool);
        let (note, notes) = mpsc::channel();
        let say = |text| {
            let note = note.clone();
            move || note.send(text)
        };
        drop(pool.spawn_with_priority(1, say("1")).unwrap());
        drop(pool.spawn(say("0")).unwrap());
        let (say_1, note_1) = (|(note, text): (mpsc::Sender<_>, _)| note.send(text), note.clone());
        drop(pool.submit_with_priority(-1, say_1, (note_1, "-1")).unwrap());
        drop(note);
        busy.finish();
        assert!(notes.iter().eq(["-1", "0", "1"]));
    });
}

#[test]
fn lifo_starts_the_latest_call_first() {
    timely(|| {
        for builder in [builder(1), bounded(100)] {
            let pool = builder.discipline(Discipline::Lifo).build().unwrap();
            let busy = Busy::on(&pool);
            let (note, notes) = mpsc::channel();
            for n in 0..5 {
                let note = note.clone();
                drop(pool.spawn(move || note.send(n)).unwrap());
            }
            drop(note);
            busy.finish();
            assert!(notes.iter().eq((0..5).rev()));
        }
    });
}

#[test]
fn a_priority_in_a_pool_of_another_discipline_is_an_invalid_argument() {
    for discipline in [Discipline::Fifo, Discipline::Lifo] {
        let pool = builder(1).discipline(discipline).build().unwrap();
        let error = pool.spawn_with_priority(1, || ()).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)));
        assert!(pool.submit_with_priority(1, |()| (), ()).is_err());
    }
}

#[test]
fn every_discipline_runs_all_calls_on_several_workers() {
    timely(|| {
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            let pool = builder(3).discipline(discipline).build().unwrap();
            let sum: u32 = pool.map(|n| n, 0..5_000).map(Result::unwrap).sum();
            assert_eq!(sum, 12_497_500);
        }
    });
}

#[test]
fn a_shutdown_cancels_calls_of_every_discipline() {
    timely(|| {
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            let pool = builder(1).discipline(discipline).build().unwrap();
            let busy = Busy::on(&pool);
            let calls: Vec<_> = (0..10).map(|n| pool.spawn(move || n).unwrap()).collect();
            let options = ShutdownOptions::new().cancel_futures(true).wait(false);
            assert_eq!(pool.shutdown_with(options).cancelled, 10);
            assert!(calls.iter().all(|call| call.cancelled()));
            busy.finish();
        }
    });
}

/// How each discipline says that a call comes before one of the priority 1 that was submitted earlier.
fn overtake<R: Send + 'static>(
    pool: &ThreadPoolExecutor,
    discipline: Discipline,
    call: impl FnOnce() -> R + Send + 'static,
) -> Future<R> {
    match discipline {
        Discipline::Priority => pool.spawn_with_priority(0, call).unwrap(),
        _ => pool.spawn(call).unwrap(),
    }
}

#[test]
fn a_call_that_comes_while_another_runs_overtakes_those_that_wait() {
    timely(|| {
        for discipline in [Discipline::Lifo, Discipline::Priority] {
            for builder in [builder(1), bounded(100)] {
                let pool = builder.discipline(discipline).build().unwrap();
                let (note, notes) = mpsc::channel();
                let first = Busy::on(&pool);
                let waits = |name| {
                    let note = note.clone();
                    move || note.send(name).unwrap()
                };
                match discipline {
                    Discipline::Priority => drop(pool.spawn_with_priority(1, waits("waits"))),
                    _ => drop(pool.spawn(waits("waits"))),
                }
                let (begin, begun) = mpsc::channel();
                let (open, opened) = mpsc::channel::<()>();
                let runs = overtake(&pool, discipline, move || (begin.send(()), opened.recv()));
                first.finish();
                begun.recv().unwrap();
                // Now one runs, and another has seen the worker pass by.
                let comes = overtake(&pool, discipline, waits("comes"));
                drop((open, note));
                assert!(notes.iter().eq(["comes", "waits"]), "{discipline:?}");
                comes.into_result().unwrap();
                drop(runs);
            }
        }
    });
}

#[test]
fn a_sweep_of_a_bounded_queue_keeps_the_pending_calls_and_their_order() {
    timely(|| {
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            let pool = bounded(100).discipline(discipline).build().unwrap();
            let busy = Busy::on(&pool);
            let (note, notes) = mpsc::channel();
            // Enough of them are over for the next submitter to sweep.
            let over: Vec<_> = (0..20).map(|_| pool.spawn(|| ()).unwrap()).collect();
            let submit = |name: i32, priority| {
                let note = note.clone();
                let call = move || note.send(name).unwrap();
                drop(match discipline {
                    Discipline::Priority => pool.spawn_with_priority(priority, call),
                    _ => pool.spawn(call),
                });
            };
            submit(0, 7);
            submit(1, -7);
            submit(2, 7);
            assert!(over.iter().all(|call| call.cancel()));
            submit(3, 0);
            submit(4, -7);
            assert_eq!(pool.stats().queued, 5);
            drop(note);
            busy.finish();
            let order = match discipline {
                Discipline::Lifo => [4, 3, 2, 1, 0],
                Discipline::Priority => [1, 4, 3, 0, 2],
                _ => [0, 1, 2, 3, 4],
            };
            assert!(notes.iter().eq(order), "{discipline:?}");
        }
    });
}

#[test]
fn a_nested_call_leaves_the_others_in_their_order() {
    timely(|| {
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            for builder in [builder(1), bounded(100)] {
                let pool = Arc::new(builder.discipline(discipline).build().unwrap());
                let own = Arc::clone(&pool);
                let (note, notes) = mpsc::channel();
                let outer = pool.spawn(move || {
                    let calls = [0, 1, 2, 3, 4].map(|n| {
                        let note = note.clone();
                        own.spawn(move || note.send(n).unwrap()).unwrap()
                    });
                    // The one at the end of the queue, one in its middle, and again one at the end.
                    for taken in [4, 1, 3] {
                        calls[taken].result().unwrap();
                    }
                });
                outer.unwrap().into_result().unwrap();
                let order = match discipline {
                    Discipline::Lifo => [4, 1, 3, 2, 0],
                    _ => [4, 1, 3, 0, 2],
                };
                assert!(notes.iter().eq(order), "{discipline:?}");
            }
        }
    });
}

// A worker that was woken for the first sees to the second, which came before it was awake.
#[test]
fn calls_that_come_at_once_are_run_at_once() {
    timely(|| {
        let builders = [
            builder(2).discipline(Discipline::Lifo),
            builder(2).discipline(Discipline::Priority),
            builder(2),
            builder(2).queue_capacity(2),
        ];
        for builder in builders {
            let pool = builder.build().unwrap();
            pool.prestart().unwrap();
            for _ in 0..if cfg!(miri) { 3 } else { 300 } {
                // Each waits for the other.
                let (left, right) = (mpsc::sync_channel::<()>(1), mpsc::sync_channel::<()>(1));
                let meets = |send: mpsc::SyncSender<()>, receive: mpsc::Receiver<()>| {
                    move || send.send(()).and(receive.recv().map_err(|_| mpsc::SendError(())))
                };
                let first = pool.spawn(meets(left.0, right.1)).unwrap();
                let second = pool.spawn(meets(right.0, left.1)).unwrap();
                assert!(first.into_result().unwrap().is_ok());
                assert!(second.into_result().unwrap().is_ok());
            }
        }
    });
}
