//! The end of a pool.

mod dropped_pools;
mod explicit;
mod joined_threads;
mod stop_requests;
