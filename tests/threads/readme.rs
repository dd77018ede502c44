//! The first program and the lines of the tables in README and guide work as they stand there.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use concurrent::futures::{
    Discipline, DoneAndNotDone, FullQueue, Future, MapOptions, Promise, ReturnWhen,
    ShutdownOptions, ThreadPoolExecutor, as_completed, as_completed_timeout, first_ok, join_all,
    wait, with_worker_state,
};
use concurrent::sched::{Float, Scheduler, VirtualClock};
use concurrent::{Error, Result};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn first_program_is_the_quickstart_example() {
    let example = include_str!("../../examples/quickstart.rs");
    let (_header, program) = example.split_once("\n\n").expect("a header, then the program");
    assert!(include_str!("../../README.md").contains(program));
}

fn length(word: &str) -> usize {
    word.len()
}

#[test]
fn lines_of_the_futures_table() -> Result<()> {
    assert!(ThreadPoolExecutor::default().max_workers() >= 5);
    let pool = ThreadPoolExecutor::builder()
        .max_workers(4)
        .thread_name_prefix("io")
        .initializer(move || assert_eq!(length("x"), 1))
        .build()?;

    let future = pool.submit(length, "one")?;
    assert_eq!(*future.result()?, 3);
    assert_eq!(*future.result_timeout(SECOND)?, 3);
    assert!(future.exception()?.is_none());
    assert!(future.exception_timeout(SECOND)?.is_none());
    assert!(!future.cancel() && !future.cancelled() && !future.running() && future.done());
    future.add_done_callback(|future| assert!(future.done()));
    assert_eq!(future.into_result()?, 3);
    assert_eq!(pool.submit(|(a, b)| a + b, (1, 2))?.into_result()?, 3);
    assert_eq!(pool.spawn(move || length("four"))?.into_result()?, 4);

    let words = ["a", "bb"];
    assert_eq!(pool.map(length, words).collect::<Result<Vec<_>>>()?, [1, 2]);
    let sums = pool.map(|(a, b)| a + b, [1, 2].into_iter().zip([3, 4]));
    assert_eq!(sums.collect::<Result<Vec<_>>>()?, [4, 6]);
    let options = MapOptions::new().timeout(SECOND).chunk_size(2).buffer_size(3);
    assert_eq!(pool.map_with(options, length, words)?.collect::<Result<Vec<_>>>()?, [1, 2]);
    assert_eq!(pool.map_with(MapOptions::new().unordered(true), length, words)?.count(), 2);

    let (promise, future) = Promise::pair();
    assert!(promise.set_running_or_notify_cancel()?);
    promise.set_result(1)?;
    assert!(promise.set_exception(Error::raised("late")).is_err());
    assert_eq!(future.into_result()?, 1);
    let parsed: Future<u8> = pool.submit(str::parse::<u8>, "x")?.flatten();
    let error = parsed.result().unwrap_err();
    assert!(error.is_call_failure());
    assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());

    let fs = [pool.submit(length, "one")?, pool.submit(length, "two")?];
    assert_eq!(wait(&fs, None, ReturnWhen::AllCompleted).done.len(), 2);
    let DoneAndNotDone { done, not_done } = wait(&fs, SECOND, ReturnWhen::FirstCompleted);
    assert_eq!((done.len(), not_done.len()), (2, 0));
    assert_eq!(as_completed(&fs).count(), 2);
    assert_eq!(as_completed_timeout(&fs, SECOND).filter(|f| f.is_ok()).count(), 2);

    #[cfg(feature = "process")]
    {
        fn portable(executor: &impl concurrent::futures::Executor) -> Result<u64> {
            executor.submit(|n: u64| n + 1, 1)?.into_result()
        }
        assert_eq!(portable(&pool)?, 2);
    }

    pool.shutdown_with(ShutdownOptions::new().wait(false).cancel_futures(true));
    pool.shutdown();
    assert!(matches!(pool.submit(length, "late"), Err(Error::Shutdown)));
    Ok(())
}

#[test]
fn lines_of_the_table_beyond_python() -> Result<()> {
    let builder = ThreadPoolExecutor::builder().queue_capacity(1000);
    let builder = builder.when_full(FullQueue::RunInCaller).discipline(Discipline::Priority);
    let builder = builder.keep_alive(Duration::from_secs(60)).min_workers(2);
    let builder = builder.on_worker_start(|| ()).on_worker_stop(|| ());
    let builder = builder.worker_state(|| "1".parse::<u32>());
    let builder = builder.propagate(tracing::Span::current, |span, run| span.in_scope(run));
    let pool = builder.build()?;
    assert_eq!(pool.prestart()?, 2);
    pool.resize(8)?;
    let state = pool.spawn(|| with_worker_state(|n: &mut u32| *n))?;
    assert_eq!(state.into_result()?, Some(1));
    assert_eq!((pool.stats().workers, pool.stats().finished), (2, 1));
    let call = pool.try_spawn(|| 1).map_err(|refused| refused.into_call());
    assert_eq!(call.ok().map(Future::into_result).transpose()?, Some(1));
    assert_eq!(pool.try_submit(length, "one")?.into_result()?, 3);
    assert_eq!(pool.spawn_with_priority(-1, || 1)?.into_result()?, 1);
    assert_eq!(pool.submit_with_priority(-1, length, "one")?.into_result()?, 3);
    Ok(())
}

#[test]
fn lines_of_the_table_beyond_python_on_calls_made_of_calls() -> Result<()> {
    let pool = ThreadPoolExecutor::new(2)?;
    let text = String::from("four");
    let length_of_text = pool.scope(|s| s.spawn(|| text.len())?.into_result())?;
    assert_eq!(length_of_text, 4);
    assert_eq!(Future::ready(text).map(|text| text.len()).into_result()?, 4);
    let futures = ["one", "three"].map(Future::ready);
    assert_eq!(join_all(futures).map(|pages| pages.len()).into_result()?, 2);
    let mirrors = ["one", "three"].map(Future::ready);
    let url = first_ok(mirrors);
    let page = url.and_then(move |url| pool.submit(length, url));
    let page = page.or_else(|_| Future::ready(0)).with_timeout(60 * SECOND);
    assert!(page.into_result()? <= 3); // 0 if the pool was gone first
    Ok(())
}

#[test]
fn lines_of_the_sched_table() -> Result<()> {
    let s = Scheduler::new();
    let e = s.enter(5 * SECOND, 1, || ());
    let (a, b) = (1, 2);
    s.enter(5 * SECOND, 1, move || assert_eq!(a + b, 3));
    s.enterabs(Instant::now(), 1, || ());
    s.cancel(&e)?;
    assert!(matches!(s.cancel(&e), Err(Error::NotQueued)));
    assert!(s.run_pending()?.is_some_and(|delay| delay > SECOND));
    assert_eq!((s.queue().len(), s.len(), s.is_empty()), (1, 1, false));
    assert!(e.time() > s.timefunc());
    assert_eq!((e.priority(), e.sequence()), (1, 0));
    assert!(e.name().contains("lines_of_the_sched_table"));
    s.clear();
    s.run()?;

    Scheduler::with_clock(SystemTime::now, sleep).run()?;
    Scheduler::builder().timefunc(SystemTime::now).build().run()?;
    let clock = VirtualClock::starting_at(Float::default());
    let s = Scheduler::with_virtual_clock(&clock);
    s.every(Float::new(1.5)?, 1, || ())?;
    s.run_until(Float::new(6.0)?)?;
    assert_eq!(clock.time().get(), 6.0);
    Ok(())
}
