//! [`Float`]: time as in Python, a float.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::clock::TimePoint;
use crate::error::{Error, Result};

/// An `f64` that is not NaN: a time or a delay, in any unit.
///
/// Infinities are allowed: an event at infinity never becomes due.
///
/// # Python
///
/// The `float` that `time.monotonic` returns. There a NaN counts as due and breaks the order of the
/// queue silently; here it cannot be made.
///
/// # Examples
///
/// ```
/// use concurrent::sched::{Float, TimePoint};
///
/// let time = Float::new(1.5)?.after(Float::new(0.25)?);
/// assert_eq!(time.get(), 1.75);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct Float(f64);

impl Float {
    /// Makes a time or a delay of a number.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `value` is NaN.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::sched::Float;
    ///
    /// assert!(Float::new(f64::INFINITY).is_ok());
    /// assert!(Float::new(f64::NAN).is_err());
    /// ```
    pub fn new(value: f64) -> Result<Self> {
        if value.is_nan() {
            return Err(Error::InvalidArgument("a time must not be NaN".into()));
        }
        Ok(Self(value + 0.0)) // there is one zero only: -0.0 + 0.0 is 0.0
    }

    /// Returns the number.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(concurrent::sched::Float::default().get(), 0.0);
    /// ```
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Float {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self> {
        Self::new(value)
    }
}

impl From<Float> for f64 {
    fn from(value: Float) -> Self {
        value.0
    }
}

impl TimePoint for Float {
    type Delay = Self;
    const ZERO: Self = Self(0.0);

    /// Opposite infinities cancel out to the point itself.
    fn after(self, delay: Self) -> Self {
        Self::new(self.0 + delay.0).unwrap_or(self)
    }

    /// Between equal infinities there is no delay.
    fn since(self, earlier: Self) -> Self {
        Self::new(self.0 - earlier.0).unwrap_or(Self::ZERO)
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
