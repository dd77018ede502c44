//! Types of time: points and the delays between them, up to their ends.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use concurrent::sched::{Float, TimePoint};

#[test]
fn a_delay_leads_from_the_earlier_point_to_the_later() {
    fn there_and_back<T: TimePoint + std::fmt::Debug>(from: T, delay: T::Delay)
    where
        T::Delay: std::fmt::Debug,
    {
        let to = from.after(delay);
        assert!(to > from);
        assert_eq!(to.since(from), delay);
        assert_eq!(from.after(T::ZERO), from);
    }
    let second = Duration::from_secs(1);
    there_and_back(Instant::now(), second);
    there_and_back(SystemTime::now(), second);
    there_and_back(Duration::ZERO, second);
    there_and_back(-5_i64, 7);
    there_and_back(5_u8, 7);
    there_and_back(Float::new(1.5).unwrap(), Float::new(0.25).unwrap());
}

#[test]
fn an_end_of_time_is_not_passed() {
    assert_eq!(250_u8.after(9), u8::MAX);
    assert_eq!(i64::MAX.after(1), i64::MAX);
    assert_eq!(Duration::MAX.after(Duration::MAX), Duration::MAX);
    assert_eq!(SystemTime::UNIX_EPOCH.since(SystemTime::now()), Duration::ZERO);
    let now = Instant::now();
    assert!(now.after(Duration::MAX) > now);
}

#[test]
fn a_float_is_a_number_that_can_be_a_key() {
    let half = Float::new(0.5).unwrap();
    assert!(Float::new(f64::NAN).is_err() && Float::try_from(f64::NAN).is_err());
    assert_eq!(Float::try_from(0.5).unwrap(), half);
    assert_eq!((half.get(), f64::from(half)), (0.5, 0.5));
    assert_eq!((format!("{half}"), format!("{half:?}")), ("0.5".into(), "0.5".into()));
    assert_eq!(HashSet::from([half, half]).len(), 1);
    let infinite = Float::new(f64::INFINITY).unwrap();
    let hashes = RandomState::new();
    assert_ne!(hashes.hash_one(half), hashes.hash_one(infinite));
    assert_eq!(infinite.since(infinite).get(), 0.0);
}
