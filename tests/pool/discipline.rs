//! In which order calls leave the queue.

use std::sync::mpsc;

use concurrent::Error;
use concurrent::futures::{Discipline, ShutdownOptions, ThreadPoolExecutor};

use crate::support::{Gate, bounded, builder, watched};

/// The order in which calls run that are submitted in this order of priorities.
fn order(pool: &ThreadPoolExecutor, priorities: &[i32]) -> Vec<usize> {
    let gate = Gate::close(pool);
    let (note, notes) = mpsc::channel();
    for (index, &priority) in priorities.iter().enumerate() {
        let note = note.clone();
        drop(pool.spawn_with_priority(priority, move || note.send(index)).unwrap());
    }
    drop(note);
    gate.open();
    notes.iter().collect()
}

#[test]
fn lower_numbers_start_first_and_equal_ones_in_the_order_they_came() {
    watched(|| {
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
    watched(|| {
        let pool = builder(1).discipline(Discipline::Priority).build().unwrap();
        let gate = Gate::close(&pool);
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
        gate.open();
        assert!(notes.iter().eq(["-1", "0", "1"]));
    });
}

#[test]
fn lifo_starts_the_latest_call_first() {
    watched(|| {
        for builder in [builder(1), bounded(100)] {
            let pool = builder.discipline(Discipline::Lifo).build().unwrap();
            let gate = Gate::close(&pool);
            let (note, notes) = mpsc::channel();
            for n in 0..5 {
                let note = note.clone();
                drop(pool.spawn(move || note.send(n)).unwrap());
            }
            drop(note);
            gate.open();
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
    watched(|| {
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            let pool = builder(3).discipline(discipline).build().unwrap();
            let sum: u32 = pool.map(|n| n, 0..5_000).map(Result::unwrap).sum();
            assert_eq!(sum, 12_497_500);
        }
    });
}

#[test]
fn a_shutdown_cancels_calls_of_every_discipline() {
    watched(|| {
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            let pool = builder(1).discipline(discipline).build().unwrap();
            let gate = Gate::close(&pool);
            let calls: Vec<_> = (0..10).map(|n| pool.spawn(move || n).unwrap()).collect();
            let options = ShutdownOptions::new().cancel_futures(true).wait(false);
            assert_eq!(pool.shutdown_with(options).cancelled, 10);
            assert!(calls.iter().all(|call| call.cancelled()));
            gate.open();
        }
    });
}
