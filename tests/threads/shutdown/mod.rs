//! The end of a pool.

mod dropped_pools;
mod joined_threads;
mod shutdown;
mod stop_requests;
