//! Panics that are part of a test are not printed, so that a line about a panic means something.
//!
//! By convention their message contains `on purpose`. A harness that captures what tests print needs
//! nothing of this; programs with a `main` of their own, and their workers, do.

use std::panic::{PanicHookInfo, set_hook, take_hook};

/// The words of a panic that a test wants.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// From now on panics that tests want are not printed; call it first thing in `main`, so that worker
/// processes do so as well.
pub(crate) fn silence() {
    let print = take_hook();
    set_hook(Box::new(move |info| {
        if !is_expected(info) {
            print(info);
        }
    }));
}

/// A payload that is no text is no failed assertion either.
fn is_expected(info: &PanicHookInfo<'_>) -> bool {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.is_none_or(|text| text.contains(ON_PURPOSE))
}
