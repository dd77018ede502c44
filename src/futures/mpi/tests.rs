//! The pool without MPI: root and workers are threads.

mod callbacks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::protocol::{RankHello, RankSettings, Tag, next_result, ready};
use super::rank::{RankLoop, Served};
use super::root::adaptive_credit::Credit;
use super::root::coordinator::Coordinator;
use super::root::event_loop;
use super::root::pool_state::{LoopEnd, PoolState};
use super::transport::local_transport::LocalTransport;
use super::transport::{Fault, Outgoing, Peer, Transport, TransportEvent};
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::remote::submit::{RemotePool, send};
use crate::sync::{JoinHandle, spawn};

fn start(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    spawn(name.into(), None, body).unwrap()
}

fn own() -> RankHello {
    RankHello::new(7, "here".into())
}

/// Root with its thread, and the ends of `workers` workers.
fn root(workers: usize, retries: u32) -> (Arc<PoolState>, JoinHandle<()>, Vec<LocalTransport>) {
    root_with(workers, retries, Credit::Fixed(2))
}

fn root_with(
    workers: usize,
    retries: u32,
    credit: Credit,
) -> (Arc<PoolState>, JoinHandle<()>, Vec<LocalTransport>) {
    let shared = PoolState::new(workers, credit, retries, 1 << 20);
    let (transport, ends) = LocalTransport::network(workers, &shared.buffers);
    let of_root = Arc::clone(&shared);
    let thread = start("root", move || {
        let coordinator =
            Coordinator::handshake(Arc::clone(&of_root), transport, workers, &own(), None);
        let end = event_loop::run(coordinator.unwrap_or_else(|(error, _)| panic!("{error}")));
        of_root.has_ended(end);
    });
    (shared, thread, ends)
}

fn serve(mut transport: LocalTransport, shared: &Arc<PoolState>) -> JoinHandle<()> {
    let buffers = Arc::clone(&shared.buffers);
    start("worker", move || {
        let served = RankLoop::new(&mut transport, buffers).serve(&own()).unwrap();
        assert!(matches!(served, Served::Stopped));
    })
}

fn call(shared: &Arc<PoolState>, n: u64) -> Result<Future<u64>> {
    send(shared, std::panic::Location::caller(), |n: u64| n * 2, n)
}

/// The next message for a worker that the test plays.
fn next(transport: &mut LocalTransport) -> (Tag, Vec<u8>) {
    loop {
        match transport.poll().unwrap() {
            Some(TransportEvent::Message { tag, bytes, .. }) => return (tag, bytes),
            Some(TransportEvent::Lost(_)) => panic!("root is gone"),
            None => std::thread::yield_now(),
        }
    }
}

/// Plays a worker until it gets calls.
fn get_ready(transport: &mut LocalTransport) {
    transport.send(0, Tag::Hello, Outgoing::Own(own().to_bytes())).unwrap();
    assert_eq!(next(transport).0, Tag::Start);
    transport.send(0, Tag::Ready, Outgoing::Own(ready(None))).unwrap();
}

#[test]
fn calls_go_there_and_back() {
    let (shared, thread, ends) = root(3, 0);
    let workers: Vec<_> = ends.into_iter().map(|end| serve(end, &shared)).collect();
    let calls: Vec<_> = (0..100).map(|n| call(&shared, n).unwrap()).collect();
    let sum: u64 = calls.into_iter().map(|call| call.into_result().unwrap()).sum();
    assert_eq!((sum, shared.stats().answered), (9900, 100));
    shared.close();
    assert!(matches!(shared.wait_for_end(None), Some(LoopEnd::Stopped)));
    workers.into_iter().chain([thread]).for_each(|thread| thread.join().unwrap());
    assert!(matches!(call(&shared, 1), Err(Error::Shutdown)));
}

#[test]
fn of_a_worker_that_is_gone_one_call_fails_and_the_others_run() {
    let (shared, thread, mut ends) = root(2, 0);
    let (mut dies, lives) = (ends.remove(0), ends.remove(0));
    let first: Vec<_> = (0..6).map(|n| call(&shared, n).unwrap()).collect();
    dies.send(0, Tag::Hello, Outgoing::Own(own().to_bytes())).unwrap();
    let worker = serve(lives, &shared);
    assert_eq!(next(&mut dies).0, Tag::Start);
    dies.send(0, Tag::Ready, Outgoing::Own(ready(None))).unwrap();
    let more: Vec<_> = (6..40).map(|n| call(&shared, n).unwrap()).collect();
    assert_eq!(next(&mut dies).0, Tag::Tasks);
    drop(dies);
    let results: Vec<_> = first.into_iter().chain(more).map(Future::into_result).collect();
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(matches!(failed[..], [Error::WorkerDied(_)]), "{failed:?}");
    let death = failed[0].worker_death().unwrap();
    assert_eq!((death.rank, death.host.as_deref()), (Some(1), Some("here")));
    assert!(death.call.as_ref().unwrap().contains("mpi/tests.rs"), "{death}");
    shared.close();
    shared.wait_for_end(None);
    [worker, thread].into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((shared.stats().workers, shared.stats().lost), (1, 1));
}

#[test]
fn without_a_worker_the_pool_is_broken() {
    let (shared, thread, mut ends) = root(1, 5);
    let calls: Vec<_> = (0..3).map(|n| call(&shared, n).unwrap()).collect();
    get_ready(&mut ends[0]);
    assert_eq!(next(&mut ends[0]).0, Tag::Tasks);
    drop(ends);
    for call in calls {
        let error = call.into_result().unwrap_err();
        assert!(matches!(error, Error::BrokenMpiPool { accepted: true, .. }), "{error}");
    }
    let error = call(&shared, 1).unwrap_err();
    assert!(matches!(error, Error::BrokenMpiPool { accepted: false, .. }), "{error}");
    shared.close();
    assert!(matches!(shared.wait_for_end(None), Some(LoopEnd::Stopped)));
    thread.join().unwrap();
}

#[test]
fn an_answer_that_makes_no_sense_breaks_the_pool_in_words() {
    for nonsense in [&b"nonsense"[..], &[0xff; 40]] {
        let (shared, thread, mut ends) = root(1, 0);
        get_ready(&mut ends[0]);
        let asked = call(&shared, 1).unwrap();
        assert_eq!(next(&mut ends[0]).0, Tag::Tasks);
        ends[0].send(0, Tag::Results, Outgoing::Own(nonsense.to_vec())).unwrap();
        let error = asked.into_result().unwrap_err().to_string();
        assert!(error.contains("rank 1 (process") && error.contains("does not answer"), "{error}");
        assert!(matches!(shared.wait_for_end(None), Some(LoopEnd::Faulty(_))));
        thread.join().unwrap();
    }
}

#[test]
fn a_worker_of_another_build_is_refused_and_the_others_are_let_go() {
    let shared = PoolState::new(2, Credit::Adaptive, 0, 1 << 20);
    let (transport, ends) = LocalTransport::network(2, &shared.buffers);
    let hellos = [own(), RankHello::new(8, "there".into())];
    let workers = ends.into_iter().zip(hellos).map(|(mut transport, hello)| {
        let buffers = Arc::clone(&shared.buffers);
        std::thread::spawn(move || RankLoop::new(&mut transport, buffers).serve(&hello).unwrap())
    });
    let workers: Vec<_> = workers.collect();
    let refused = Coordinator::handshake(shared, transport, 2, &own(), None).err();
    let (error, told) = refused.expect("another build");
    assert!(told && error.to_string().contains("rank 2 (process"), "{error}");
    let served: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let [Served::Stopped, Served::Refused(why)] = &served[..] else { panic!("{served:?}") };
    assert!(why.contains("another build"), "{why}");
}

#[test]
fn a_callback_may_wait_for_another_call_of_its_pool() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let (shared, thread, ends) = root(1, 0);
    let first = call(&shared, 1).unwrap();
    let own = Arc::clone(&shared);
    first.add_done_callback(move |_: &Future<u64>| {
        let second = call(&own, 21).unwrap().into_result().unwrap();
        // ORDERING: Relaxed; the thread is joined before it is read.
        SEEN.store(second as usize, Ordering::Relaxed);
    });
    let worker = ends.into_iter().map(|end| serve(end, &shared)).next().unwrap();
    assert_eq!(first.into_result().unwrap(), 2);
    shared.close();
    shared.wait_for_end(None);
    [worker, thread].into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(SEEN.load(Ordering::Relaxed), 42); // ORDERING: as above
}

#[test]
fn the_pool_ends_when_its_last_worker_has_said_goodbye() {
    let (shared, thread, mut ends) = root(1, 0);
    let sleeper = &mut ends[0];
    sleeper.send(0, Tag::Hello, Outgoing::Own(own().to_bytes())).unwrap();
    assert_eq!(next(sleeper).0, Tag::Start);
    shared.close(); // its initializer still runs
    assert_eq!(next(sleeper).0, Tag::Stop);
    let soon = || Some(Instant::now() + Duration::from_millis(100));
    assert!(shared.wait_for_end(soon()).is_none());
    sleeper.send(0, Tag::Ready, Outgoing::Own(ready(None))).unwrap();
    assert!(shared.wait_for_end(soon()).is_none());
    sleeper.send(0, Tag::Bye, Outgoing::Own(Vec::new())).unwrap();
    assert!(matches!(shared.wait_for_end(None), Some(LoopEnd::Stopped)));
    thread.join().unwrap();
}

#[test]
fn an_answer_does_not_wait_for_another_function() {
    static OPEN: AtomicBool = AtomicBool::new(false);
    let pass = |()| {
        // ORDERING: Relaxed; a flag by itself.
        while !OPEN.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    };
    let (shared, thread, mut ends) = root_with(1, 0, Credit::Fixed(64));
    let short = call(&shared, 1).unwrap();
    let long: Future<()> = send(&shared, std::panic::Location::caller(), pass, ()).unwrap();
    get_ready(&mut ends[0]);
    let (_, both) = next(&mut ends[0]);
    drop(ends);
    let (mut transport, workers) = LocalTransport::network(1, &shared.buffers);
    let worker = workers.into_iter().map(|end| serve(end, &shared)).next().unwrap();
    assert_eq!(next(&mut transport).0, Tag::Hello);
    let settings = RankSettings { limit: 1000, packs: true, initializer: None };
    transport.send(0, Tag::Start, Outgoing::Own(settings.to_bytes())).unwrap();
    transport.send(0, Tag::Tasks, Outgoing::Own(both)).unwrap();
    assert_eq!(next(&mut transport).0, Tag::Ready);
    let (begun, mut first) = (Instant::now(), None);
    while first.is_none() && begun.elapsed() < Duration::from_secs(20) {
        first = transport.poll().unwrap();
    }
    OPEN.store(true, Ordering::Relaxed); // ORDERING: as above
    let Some(TransportEvent::Message { bytes, .. }) = first else { panic!("it was held back") };
    let mut rest = &bytes[..];
    assert_eq!(next_result(&mut rest).unwrap().unwrap().id, 1);
    assert!(rest.is_empty());
    assert_eq!(next(&mut transport).0, Tag::Results);
    transport.send(0, Tag::Stop, Outgoing::Own(Vec::new())).unwrap();
    worker.join().unwrap();
    shared.close();
    shared.wait_for_end(None);
    thread.join().unwrap();
    assert!(short.into_result().is_err() && long.into_result().is_err());
}

/// A transport whose messages take a few polls to arrive.
struct Slow {
    transport: LocalTransport,
    looks: u32,
}

impl Transport for Slow {
    fn send(&mut self, to: Peer, tag: Tag, message: Outgoing) -> std::result::Result<(), Fault> {
        assert_eq!(self.looks, 0, "a call has run while the answer before could be lost");
        if tag == Tag::Results {
            self.looks = 3;
        }
        self.transport.send(to, tag, message)
    }

    fn poll(&mut self) -> std::result::Result<Option<TransportEvent>, Fault> {
        self.looks = self.looks.saturating_sub(1);
        self.transport.poll()
    }

    fn is_sending(&self) -> bool {
        self.looks > 0
    }

    fn outlives_peers(&self) -> bool {
        true
    }
}

#[test]
fn where_ranks_may_die_a_call_waits_until_the_answer_before_has_come() {
    let (shared, thread, mut ends) = root_with(1, 0, Credit::Fixed(16));
    let calls: Vec<_> = (0..10).map(|n| call(&shared, n).unwrap()).collect(); // in one message
    let mut transport = Slow { transport: ends.remove(0), looks: 0 };
    let buffers = Arc::clone(&shared.buffers);
    let worker = start("worker", move || {
        let served = RankLoop::new(&mut transport, buffers).serve(&own()).unwrap();
        assert!(matches!(served, Served::Stopped));
    });
    let results = calls.into_iter().map(|call| call.into_result().unwrap());
    assert!(results.eq((0..10).map(|n| n * 2)));
    shared.close();
    shared.wait_for_end(None);
    [worker, thread].into_iter().for_each(|thread| thread.join().unwrap());
}
