//! One call: its states, and completing it by hand.

mod promises;
mod states;
