//! Two sides of a stream in shared memory: nobody sleeps over what is there, and no byte is touched
//! by both at a time. The very source of the process pool, which is no part of a loom build.

#[path = "../../src/futures/process/channel/flow.rs"]
mod protocol;

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::Outcomes;
use protocol::{Flow, Overrun, Position};

/// A stream of numbers instead of bytes, with bells instead of system calls.
struct Stream {
    flow: Flow,
    /// The writer's and the reader's own.
    written: Position,
    read: Position,
    cells: Vec<Cell>,
    for_reader: Bell,
    for_writer: Bell,
}

struct Cell(UnsafeCell<u32>);

// SAFETY: that accesses are ordered is what the models check.
unsafe impl Sync for Cell {}

impl Cell {
    fn get(&self) -> u32 {
        // SAFETY: loom reports it if this is not ordered after the write.
        self.0.with(|place| unsafe { *place })
    }

    fn set(&self, value: u32) {
        // SAFETY: loom reports it if this is not ordered after the read before.
        self.0.with_mut(|place| unsafe { *place = value });
    }
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Stream {
    fn new(capacity: u32) -> Arc<Self> {
        let cells = (0..capacity).map(|_| Cell(UnsafeCell::new(0))).collect();
        let (for_reader, for_writer) = (Bell::default(), Bell::default());
        let (written, read) = (Position::default(), Position::default());
        Arc::new(Self { flow: Flow::new(), written, read, cells, for_reader, for_writer })
    }

    fn capacity(&self) -> u32 {
        u32::try_from(self.cells.len()).unwrap()
    }

    fn cell(&self, position: u32) -> &Cell {
        &self.cells[(position % self.capacity()) as usize]
    }

    /// Writes 1, 2, ... one at a time; true if it had to wait for the reader.
    fn write(&self, count: u32) -> bool {
        let mut slept = false;
        for n in 1..=count {
            let position = loop {
                let (position, room) = self.flow.room(&self.written, self.capacity()).unwrap();
                if room > 0 {
                    break position;
                }
                self.wake_reader(true);
                if self.flow.prepare_writer_sleep(&self.written, self.capacity()) {
                    slept = true;
                    self.for_writer.wait();
                }
            };
            self.cell(position).set(n);
            self.flow.publish(&self.written, 1);
            self.wake_reader(false);
        }
        self.wake_reader(true);
        slept
    }

    fn wake_reader(&self, for_anything: bool) {
        if self.flow.must_wake_reader(&self.written, for_anything) {
            self.for_reader.ring();
        }
    }

    /// Reads 1, 2, ...; sleeps until there are so many; true if it had to.
    fn read(&self, count: u32, until: u32) -> bool {
        let (mut next, mut slept) = (1, false);
        while next <= count {
            let (position, filled) = self.flow.filled(&self.read, self.capacity()).unwrap();
            for at in 0..filled {
                assert_eq!(self.cell(position.wrapping_add(at)).get(), next);
                next += 1;
            }
            if filled > 0 {
                if self.flow.consume(&self.read, filled) {
                    self.for_writer.ring();
                }
            } else if self.flow.prepare_reader_sleep(&self.read, until) {
                slept = true;
                self.for_reader.wait();
            }
        }
        slept
    }
}

fn both(capacity: u32, count: u32, until: u32) -> (bool, bool) {
    let stream = Stream::new(capacity);
    let other = Arc::clone(&stream);
    let writer = thread::spawn(move || other.write(count));
    let reader_slept = stream.read(count, until);
    (writer.join().unwrap(), reader_slept)
}

#[test]
fn a_reader_does_not_sleep_over_what_is_there() {
    Outcomes::with_bound(Some(6), || both(2, 2, 1).1).assert([false, true]);
}

#[test]
fn a_reader_that_waits_for_several_is_woken_for_the_last_ones() {
    Outcomes::with_bound(Some(3), || both(4, 3, 2).1).assert([false, true]);
}

#[test]
fn a_writer_without_room_waits_for_the_reader() {
    // One of them has to wait: there is room for one only.
    let all = [(false, true), (true, false), (true, true)];
    Outcomes::with_bound(Some(3), || both(1, 3, 1)).assert(all);
}

#[test]
fn a_reader_that_gives_up_sleeping_reads_on() {
    Outcomes::with_bound(Some(3), || {
        let stream = Stream::new(2);
        let other = Arc::clone(&stream);
        let writer = thread::spawn(move || other.write(2));
        // Its time was over before it was rung for: a bell may come all the same.
        if stream.flow.prepare_reader_sleep(&stream.read, 2) {
            stream.flow.reader_is_awake();
        }
        let slept = stream.read(2, 1);
        writer.join().unwrap();
        slept
    })
    .assert([false, true]);
}

#[test]
fn positions_that_no_other_side_reaches_are_refused() {
    Outcomes::of(|| {
        let (flow, written, read) = (Flow::new(), Position::default(), Position::default());
        flow.publish(&written, 3);
        assert_eq!((flow.filled(&read, 2), flow.filled(&read, 4)), (Err(Overrun), Ok((0, 3))));
        assert_eq!((flow.room(&written, 2), flow.room(&written, 4)), (Err(Overrun), Ok((3, 1))));
        assert!(!flow.prepare_writer_sleep(&written, 2), "nobody would wake it");
        // A reader that says to have read more than was written.
        let liar = Position::default();
        let _ = flow.consume(&liar, 4);
        assert_eq!(flow.room(&written, 4), Err(Overrun));
    })
    .assert([()]);
}

#[test]
fn what_one_side_publishes_it_never_reads_back() {
    Outcomes::of(|| {
        let (flow, written, read) = (Flow::new(), Position::default(), Position::default());
        flow.publish(&written, 2);
        assert_eq!(flow.filled(&read, 4), Ok((0, 2)));
        let _ = flow.consume(&read, 2);
        // The other side overwrites both.
        flow.publish(&Position::default(), 77);
        let _ = flow.consume(&Position::default(), 78);
        flow.publish(&written, 1);
        assert_eq!(flow.filled(&read, 4), Ok((2, 1)));
        let _ = flow.consume(&read, 1);
        assert_eq!(flow.room(&written, 4), Ok((3, 4)));
    })
    .assert([()]);
}
