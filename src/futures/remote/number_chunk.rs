//! Both ends of a call for a chunk of items, if arguments and results are numbers.
//!
//! Such calls tend to be so cheap that the bytes around each item would cost more than the item. So
//! items and results cross as arrays, as they lie in memory. Behind the results follows an item for each
//! failure, which begins with its index.

use super::chunk::{bad_result, encode_failure, failed, put_item};
use super::codec::numbers::{is_number, numbers_in};
use super::codec::{EncodeError, Sink, Source, Storage};
use super::function_id::{CallOutcome, Code};
use super::invoke::panic_text;
use super::protocol::FrameKind;
use crate::error::{Panic, Result};
use crate::futures::executor::Portable;
use crate::user_code::catch;

/// Whether chunks of such calls cross as arrays.
pub(crate) fn applies<A: 'static, R: 'static>() -> bool {
    is_number::<A>() && is_number::<R>()
}

/// In the worker: calls the function with each item.
pub(crate) fn call_number_chunk<A: Portable, R: Portable, S: Storage>(
    code: Code,
    source: &mut Source<'_>,
    sink: &mut Sink<'_, S>,
) -> CallOutcome {
    // SAFETY: `send_chunk` pairs this instance with an `fn(A) -> R`.
    let function = unsafe { code.function::<A, R>() };
    let mut items = match source.load().and_then(|()| numbers_in::<A>(source.rest())) {
        Ok(items) => items,
        Err(error) => return CallOutcome::BadArgument(super::invoke::text(error)),
    };
    let mut results = Vec::with_capacity(items.size_hint().0);
    let mut panics = Vec::new();
    // As for other chunks: entered again only after a panic.
    while let Err(panic) = catch(|| results.extend(items.by_ref().map(function))) {
        panics.push((results.len() + panics.len(), panic));
    }
    match put(&results, panics, sink) {
        Ok(()) => CallOutcome::Done,
        Err(error) => encode_failure(error),
    }
}

fn put<R: Portable, S: Storage>(
    results: &Vec<R>,
    panics: Vec<(usize, Panic)>,
    sink: &mut Sink<'_, S>,
) -> Result<(), EncodeError> {
    sink.put(&(results.len() as u64).to_ne_bytes())?;
    sink.write(results)?;
    for (place, panic) in panics {
        let text = panic_text(&panic).to_bytes();
        put_item(
            sink,
            FrameKind::Panicked as u8,
            &[&(place as u64).to_ne_bytes()[..], &text].concat(),
        )?;
    }
    Ok(())
}

/// In the parent: decodes the results of `items` items.
pub(crate) fn decode_number_chunk<R: Portable>(
    source: &mut Source<'_>,
    items: usize,
) -> Result<Vec<Result<R>>> {
    decode(source, items).map_err(|error| bad_result(&error))
}

fn decode<R: Portable>(source: &mut Source<'_>, items: usize) -> Result<Vec<Result<R>>, String> {
    let wrong = "has another number of items than was sent";
    source.load()?;
    let count = source.take_u64()?;
    let mut numbers = numbers_in(source.take(count.saturating_mul(size_of::<R>() as u64))?)?;
    let mut results: Vec<Result<R>> = Vec::with_capacity(items.min(numbers.size_hint().0));
    while !source.is_empty() {
        let (tag, mut item) = source.item()?;
        let place = usize::try_from(item.take_u64()?).map_err(|_| wrong)?;
        let before = place.checked_sub(results.len()).ok_or(wrong)?;
        results.extend(numbers.by_ref().take(before).map(Ok));
        if results.len() != place {
            return Err(wrong.into());
        }
        results.push(Err(failed(tag, item.rest())));
    }
    results.extend(numbers.map(Ok));
    if results.len() == items { Ok(results) } else { Err(wrong.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::remote::attachments::Files;
    use crate::futures::remote::codec::Payload;
    use crate::futures::remote::segments::Arena;

    fn come_back(results: &Vec<f32>, panics: &[usize], items: usize) -> Result<Vec<Result<f32>>> {
        let arena = Arena::new(0);
        let mut sink = Sink::new(Vec::new(), 1 << 20, 1 << 20, &arena);
        let panic = |place: &usize| (*place, catch(|| panic!("at {place}")).unwrap_err());
        put(results, panics.iter().map(panic).collect(), &mut sink).unwrap();
        let Payload::Inline(bytes) = sink.into_parts().0 else {
            panic!("there is no other memory")
        };
        let files = Files::default();
        decode_number_chunk(&mut Source::new(&bytes, &files), items)
    }

    #[test]
    fn results_and_failures_come_back_in_the_order_of_the_items() {
        let results = come_back(&vec![0.5, 2.5, 3.5], &[1, 4], 5).unwrap();
        for (place, result) in results.iter().enumerate() {
            match result {
                Ok(number) => assert_eq!(*number, place as f32 + 0.5),
                Err(error) => assert!(error.to_string().contains(&format!("at {place}"))),
            }
        }
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
        assert!(come_back(&vec![], &[0, 1], 2).unwrap().iter().all(Result::is_err));
        assert!(come_back(&vec![], &[], 0).unwrap().is_empty());
    }

    #[test]
    fn what_no_worker_of_ours_would_send_is_refused() {
        for (panics, items) in [(&[][..], 3), (&[], 1), (&[1, 1], 4), (&[3], 3), (&[2, 0], 4)] {
            assert!(come_back(&vec![0.5, 1.5], panics, items).is_err(), "{panics:?} {items}");
        }
    }
}
