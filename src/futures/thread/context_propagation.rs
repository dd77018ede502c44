//! Context propagation: values that are captured in the submitting thread and restored around the
//! call.

use std::sync::Arc;

use super::builder::ThreadPoolBuilder;
use super::shared::PoolSettings;
use crate::user_code::contain;

/// Enters the context of one call, calls the given function, and leaves the context.
pub(crate) type Enter = Box<dyn FnOnce(&mut dyn FnMut()) + Send>;

/// Captures the context, in the submitting thread.
pub(crate) type Capture = Arc<dyn Fn() -> Enter + Send + Sync>;

impl ThreadPoolBuilder {
    /// Carries a value along with each call: `capture` takes it in the submitting thread, and
    /// `enter` puts it in force around the run of the call.
    ///
    /// It is for thread-locals such as the current span of `tracing`:
    /// `.propagate(tracing::Span::current, |span, run| span.in_scope(run))`. A pool without it pays
    /// nothing for it. If it is set twice, the last one counts.
    ///
    /// `enter` should call the function that it is given once. Further calls do nothing; if it
    /// returns without one, the call runs after it. If `enter` panics, the call fails with that
    /// panic.
    ///
    /// # Threads
    ///
    /// `capture` runs in the submitting thread; if it panics, that is logged, and the call runs
    /// with nothing around it. `enter` runs in the thread that runs the call. The value of a
    /// cancelled call is dropped with the captures of the call.
    ///
    /// # Python
    ///
    /// `contextvars.copy_context().run`, wrapped around each submitted function by hand.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    /// use std::cell::Cell;
    ///
    /// thread_local!(static REQUEST: Cell<u32> = const { Cell::new(0) });
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .propagate(|| REQUEST.get(), |request, run| {
    ///         let before = REQUEST.replace(request);
    ///         run();
    ///         REQUEST.set(before);
    ///     })
    ///     .build()?;
    /// REQUEST.set(7);
    /// assert_eq!(pool.spawn(|| REQUEST.get())?.into_result()?, 7);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    #[doc(alias = "contextvars")]
    pub fn propagate<C: Send + 'static>(
        mut self,
        capture: impl Fn() -> C + Send + Sync + 'static,
        enter: impl Fn(C, &mut dyn FnMut()) + Send + Sync + 'static,
    ) -> Self {
        let enter = Arc::new(enter);
        self.hooks.context = Some(Arc::new(move || {
            let (context, enter) = (capture(), Arc::clone(&enter));
            Box::new(move |run: &mut dyn FnMut()| enter(context, run))
        }));
        self
    }
}

/// Captures the context of a call that this thread submits.
pub(super) fn capture(settings: &PoolSettings) -> Option<Enter> {
    let capture = settings.hooks.context.as_ref()?;
    let mut captured = None;
    contain("capturing the context of a call", || captured = Some(capture()));
    captured
}

/// Calls a function inside of `enter`; `call` does so once, and then returns nothing.
pub(super) fn run_within<T>(enter: Enter, call: &mut dyn FnMut() -> Option<T>) -> T {
    let mut result = Leftover(None);
    enter(&mut || {
        if let Some(returned) = call() {
            result.0 = Some(returned);
        }
    });
    match result.take().or_else(call) {
        Some(result) => result,
        None => panic!("the call panicked, and the hook around it caught the panic"),
    }
}

/// A value that is left when the hook panics. Its drop may panic too, and must not do so during
/// that panic.
pub(super) struct Leftover<T>(pub(super) Option<T>);

impl<T> Leftover<T> {
    pub(super) fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Leftover<T> {
    fn drop(&mut self) {
        if self.0.is_some() {
            let drop: &mut dyn FnMut() = &mut || self.0 = None;
            contain("dropping what a hook around a call left behind", drop);
        }
    }
}
