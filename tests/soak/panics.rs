//! Panics that are part of the load.

/// What calls of the load panic with.
pub(crate) const PART_OF_THE_LOAD: &str = "part of the load";

/// Panics of the load are not printed.
pub(crate) fn quiet_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&PART_OF_THE_LOAD) {
            print(info);
        }
    }));
}
