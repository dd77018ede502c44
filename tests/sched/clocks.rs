//! Clocks and time types.

use std::cell::RefCell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant, SystemTime};

use concurrent::sched::{Due, Event, Every, Float, Scheduler, TimePoint, VirtualClock};

use crate::support::{HOUR, Log, SOON};

// S1: both functions have a default, and any combination can be chosen.
#[test]
fn time_and_delay_functions_are_optional() {
    let log = Log::new();
    let s = Scheduler::default();
    s.enter(Duration::ZERO, 1, log.note("both defaults"));
    s.run().unwrap();
    let s = Scheduler::builder().timefunc(SystemTime::now).build();
    s.enter(Duration::ZERO, 1, log.note("own time"));
    s.run().unwrap();
    let s = Scheduler::builder().clock(Instant::now, std::thread::sleep).build();
    s.enter(Duration::ZERO, 1, log.note("own time and delay"));
    s.run().unwrap();
    assert_eq!(log.take(), ["both defaults", "own time", "own time and delay"]);
}

// S2: any type with an order, a sum and a difference will do.
#[test]
fn a_time_type_of_ones_own() {
    /// Days since the first of January of the year 1900.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Day(u16);
    impl TimePoint for Day {
        type Delay = u16;
        const ZERO: u16 = 0;
        fn after(self, delay: u16) -> Self {
            Self(self.0.saturating_add(delay))
        }
        fn since(self, earlier: Self) -> u16 {
            self.0 - earlier.0
        }
    }
    let clock = VirtualClock::starting_at(Day(7));
    let s = Scheduler::with_virtual_clock(&clock);
    s.enter(30, 1, || {});
    s.run().unwrap();
    assert_eq!((clock.time(), s.timefunc()), (Day(37), Day(37)));
}

/// Runs three events on a clock of this type, and looks at the range.
fn runs_on<T: TimePoint>(start: T, delays: [T::Delay; 3], longest: T::Delay) {
    let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(start));
    let log = Log::new();
    for delay in delays {
        s.enter(delay, 1, log.note(delay));
    }
    s.run().unwrap();
    let mut expected = delays.to_vec();
    expected.sort_unstable();
    assert_eq!(log.take(), expected);
    let last = s.enter(longest, 1, || {});
    assert!(last.time() > start);
    assert!(last.time() <= last.time().after(longest));
}

// S2
#[test]
fn every_time_type_runs_and_saturates() {
    let float = |value| Float::new(value).unwrap();
    runs_on(0_u8, [3, 1, 2], u8::MAX);
    runs_on(0_u64, [3, 1, 2], u64::MAX);
    runs_on(-9_i32, [3, 0, 2], i32::MAX);
    runs_on(-9_i128, [3, 0, 2], i128::MAX);
    runs_on(float(0.5), [float(0.3), float(-1.0), float(0.1)], float(f64::MAX));
    let delays = [3, 1, 2].map(Duration::from_nanos);
    runs_on(Duration::ZERO, delays, Duration::MAX);
    runs_on(Instant::now(), delays, Duration::MAX);
    runs_on(SystemTime::now(), delays, Duration::MAX);
}

#[test]
fn delays_that_do_not_fit_keep_their_order() {
    let now = Instant::now();
    let huge = [Duration::MAX / 2, Duration::MAX / 2 + HOUR, Duration::MAX];
    let times = huge.map(|delay| now.after(delay));
    assert!(times.is_sorted());
    assert!(times[0] > now + HOUR);
}

#[test]
fn the_default_delay_takes_any_length_and_never_ends_early() {
    let s = Scheduler::new();
    let log = Log::new();
    let never = s.enter(Duration::MAX, 1, || {});
    let at = Instant::now() + Duration::from_millis(2);
    s.enterabs(at, 1, {
        let (s, log) = (s.clone(), log.clone());
        move || {
            log.push(Instant::now() >= at);
            s.cancel(&never)
        }
    });
    s.run().unwrap();
    assert_eq!(log.take(), [true]);
    assert!(s.run_pending().unwrap().is_none());
}

// S13
#[test]
fn infinities_do_not_make_a_nan() {
    let infinity = Float::new(f64::INFINITY).unwrap();
    let minus = Float::new(f64::NEG_INFINITY).unwrap();
    assert_eq!(infinity.after(minus), infinity);
    assert_eq!(infinity.since(infinity), Float::ZERO);
    assert!(minus < Float::ZERO && Float::ZERO < infinity);
}

#[test]
fn a_virtual_clock_never_goes_back() {
    let clock = VirtualClock::default();
    clock.advance(SOON);
    clock.advance_to(Duration::from_secs(1));
    assert_eq!(clock.clone().time(), SOON);
    clock.advance_to(HOUR);
    assert_eq!(clock.time(), HOUR);
}

// Two that set it at once: the second begins while `after` of the first is at work, and ends before.
#[test]
fn a_virtual_clock_loses_no_step() {
    thread_local! {
        static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }
    /// Minutes; no number that fits into an atomic one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Minute(u128);
    impl TimePoint for Minute {
        type Delay = u128;
        const ZERO: u128 = 0;
        fn after(self, delay: u128) -> Self {
            if let Some(meanwhile) = MEANWHILE.take() {
                meanwhile();
            }
            Self(self.0 + delay)
        }
        fn since(self, earlier: Self) -> u128 {
            self.0 - earlier.0
        }
    }
    let clock = VirtualClock::starting_at(Minute(0));
    let other = clock.clone();
    MEANWHILE.set(Some(Box::new(move || other.advance(10))));
    clock.advance(1);
    assert_eq!(clock.time(), Minute(11));
}

/// A time with four bytes that are never written, of the size of an atomic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(align(8))]
struct Padded(u32);

impl TimePoint for Padded {
    type Delay = u32;
    const ZERO: u32 = 0;
    fn after(self, delay: u32) -> Self {
        Self(self.0.saturating_add(delay))
    }
    fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A time that is a reference, of that size too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Day(&'static u32);

static DAYS: [u32; 4] = [0, 1, 2, 3];

impl TimePoint for Day {
    type Delay = u32;
    const ZERO: u32 = 0;
    fn after(self, delay: u32) -> Self {
        Self(&DAYS[(*self.0 + delay).min(3) as usize])
    }
    fn since(self, earlier: Self) -> u32 {
        self.0 - earlier.0
    }
}

// Padding and references: Miri complains if they are read as a number.
#[test]
fn a_virtual_clock_shows_times_with_padding_and_references() {
    let clock = VirtualClock::starting_at(Padded(1));
    clock.advance(2);
    clock.advance_to(Padded(2));
    assert_eq!(clock.time(), Padded(3));
    let clock = VirtualClock::starting_at(Day(&DAYS[1]));
    clock.advance(1);
    assert_eq!(clock.time(), Day(&DAYS[2]));
    assert!(std::ptr::eq(clock.time().0, &DAYS[2]));
}

#[test]
fn a_virtual_clock_is_set_and_read_by_several_threads() {
    /// Sets a clock forward by one `step` at a time in two threads, and reads it in a third.
    fn goes_on<T: TimePoint>(start: T, step: T::Delay) {
        let rounds = if cfg!(miri) { 8 } else { 1_000 };
        let clock = VirtualClock::starting_at(start);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..rounds).for_each(|_| clock.advance(step)));
            }
            let mut before = start;
            for _ in 0..rounds {
                let now = clock.time();
                assert!(now >= before, "{now:?} after {before:?}");
                before = now;
            }
        });
        let end = (0..2 * rounds).fold(start, |time, _| time.after(step));
        assert_eq!(clock.time(), end, "no step was lost");
    }
    goes_on(0_u64, 1);
    goes_on(Duration::ZERO, Duration::new(1, 1));
    goes_on(0_u128, u128::from(u64::MAX));
    goes_on(Instant::now(), Duration::new(1, 1));
    goes_on(Float::ZERO, Float::new(1.0).unwrap());
    goes_on(Padded(0), 1);
    goes_on(Day(&DAYS[0]), 1);
}

#[test]
fn types_can_be_sent_shared_and_unwound() {
    fn traits<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    traits::<Scheduler>();
    traits::<Scheduler<Float>>();
    traits::<Event<Instant>>();
    traits::<Every<Duration>>();
    traits::<Float>();
    fn sent<T: Send>() {}
    sent::<Due>();
    sent::<VirtualClock>();
    assert!(format!("{:?}", Scheduler::new()).starts_with("Scheduler { len: 0, next_time: None }"));
}
