//! A function crosses as an offset into a program image that both processes run.
//!
//! Images are loaded at random addresses, so an address means nothing to another process, but its offset
//! from the start of the image does. Both sides look a place up in the executable parts of the loaded
//! images (`images.rs`) before they use it. An address is never a key: the linker merges functions that
//! compile to the same code.

use std::ffi::c_void;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::codec::{Sink, Source, Storage};
use super::images::{self, Constructor, Image};
use super::protocol::{CodePlace, FunctionToken, Text};
use crate::error::{Error, Result};

/// Code of this crate that knows `A` and `R`: decodes an argument, calls a function, encodes its result.
pub(crate) type Trampoline<S> = fn(Code, &mut Source<'_>, &mut Sink<'_, S>) -> CallOutcome;

/// How a call ended, in the worker.
#[derive(Debug)]
pub(crate) enum CallOutcome {
    /// The result is in the sink.
    Done,
    Panicked(Text),
    BadArgument(Text),
    BadResult(Text),
    TooLarge(u64),
    Raised(Text),
}

/// The address of a function, checked to lie in executable code of a loaded image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code(*const c_void);

impl Code {
    /// The function at this address.
    ///
    /// # Safety
    ///
    /// It came from a token whose trampoline is instantiated for the same `A` and `R`.
    pub(crate) unsafe fn function<A, R>(self) -> fn(A) -> R {
        // SAFETY: the parent took the address from an `fn(A) -> R` (the caller's promise), and
        // this process has mapped the same image: the same code is at the same offset.
        unsafe { std::mem::transmute::<*const c_void, fn(A) -> R>(self.0) }
    }
}

/// The token by which a worker calls `function` through `trampoline`.
pub(crate) fn token<S: Storage, A, R>(
    trampoline: Trampoline<S>,
    function: fn(A) -> R,
) -> Result<FunctionToken> {
    Ok(FunctionToken {
        trampoline: place_of(trampoline as *const c_void)?,
        function: place_of(function as *const c_void)?,
    })
}

/// The code that a token names in this process. It was made by a parent whose arguments and results
/// go through the same kind of storage.
pub(crate) fn resolve<S: Storage>(token: FunctionToken) -> Result<(Trampoline<S>, Code), String> {
    let trampoline = address_of(token.trampoline)?;
    let function = address_of(token.function)?;
    // SAFETY: the parent took the address from a `Trampoline<S>`: pools of processes make all their
    // tokens for `Arena`, pools of ranks for `HeapOnly`. It lies in executable code of an image with
    // the same fingerprint, so the same code is there.
    let trampoline = unsafe { std::mem::transmute::<*const c_void, Trampoline<S>>(trampoline) };
    Ok((trampoline, Code(function)))
}

fn place_of(address: *const c_void) -> Result<CodePlace> {
    let found = images::find(|image| {
        let offset = image.offset_of(address.addr())?;
        Some(image.name.map(|image| CodePlace { image, offset }))
    });
    match found {
        Some(Some(place)) => Ok(place),
        Some(None) => Err(Error::InvalidArgument(
            "the function lies in a library without a build id, whose code cannot be read to tell it \
             from others"
                .into(),
        )),
        None => Err(Error::InvalidArgument(
            "the function lies in no program image: code made at run time?".into(),
        )),
    }
}

fn address_of(place: CodePlace) -> Result<*const c_void, String> {
    let address = images::find(|image| {
        (image.name == Some(place.image)).then(|| image.address_of(place.offset)).flatten()
    });
    let address = address.ok_or_else(|| {
        let CodePlace { image, offset } = place;
        format!("the worker has no code at offset {offset:#x} of image {image:016x}: a plug-in?")
    })?;
    Ok(std::ptr::with_exposed_provenance(address))
}

/// The executable, if this library is part of it.
fn own_executable() -> Result<&'static Image> {
    let anchor = own_executable as fn() -> Result<&'static Image> as *const c_void;
    let executable = images::executable();
    executable.filter(|image| image.offset_of(anchor.addr()).is_some()).ok_or_else(|| {
        let text = "this library is not part of the main executable but of a shared library or \
                    plug-in: worker processes cannot be started from here";
        Error::InvalidArgument(text.into())
    })
}

/// A hash of the executable's name and of this library's offset in it.
///
/// An error if the library is not part of the executable: a new process of the executable would not
/// reach this code then.
pub(crate) fn fingerprint() -> Result<u64> {
    let executable = own_executable()?;
    let anchor = fingerprint as fn() -> Result<u64> as *const c_void;
    let mut hasher = DefaultHasher::new();
    (executable.name, executable.offset_of(anchor.addr())).hash(&mut hasher);
    Ok(hasher.finish())
}

/// Like [`fingerprint`], but different for each build even if the linker wrote no build id, for
/// processes that may run different files.
///
/// Also an error if there is no build id and the code cannot be read.
#[cfg(feature = "mpi")]
pub(crate) fn build_fingerprint() -> Result<u64> {
    use std::sync::OnceLock;
    static CONTENT: OnceLock<Option<u64>> = OnceLock::new();
    let own = fingerprint()?;
    let content = if own_executable()?.has_build_id {
        Some(0)
    } else {
        *CONTENT.get_or_init(images::executable_content)
    };
    let content = content.ok_or_else(|| {
        let text = "this program has no build id, and its code cannot be read to tell it from other builds: \
                    link it with `-Wl,--build-id`";
        Error::InvalidArgument(text.into())
    })?;
    let mut hasher = DefaultHasher::new();
    (own, content).hash(&mut hasher);
    Ok(hasher.finish())
}

/// Whether the executable needs a dynamic loader.
pub(crate) fn wants_loader() -> bool {
    images::executable().is_some_and(|image| image.wants_loader)
}

/// The constructors of the executable that come after the one stored at `own`.
pub(crate) fn constructors_after(own: usize) -> Vec<Constructor> {
    let array = images::executable().map_or(0..0, |image| image.constructors.clone());
    let step = size_of::<usize>();
    if !array.contains(&own) || (own - array.start) % step != 0 {
        return Vec::new();
    }
    let later = (own + step..array.end).step_by(step);
    // SAFETY: these lie in the loader's array of function pointers, which is relocated before the first
    // constructor runs; entries may be null.
    let read = |at| unsafe { std::ptr::with_exposed_provenance::<Option<Constructor>>(at).read() };
    later.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::remote::segments::Arena;

    fn twice(n: u64) -> u64 {
        n * 2
    }

    fn never(_: Code, _: &mut Source<'_>, _: &mut Sink<'_>) -> CallOutcome {
        CallOutcome::TooLarge(7)
    }

    #[test]
    fn a_token_leads_back_to_its_function() {
        let token = token(never, twice).unwrap();
        let (_, code) = resolve::<Arena>(token).unwrap();
        // SAFETY: the token was made of an `fn(u64) -> u64`.
        let function = unsafe { code.function::<u64, u64>() };
        assert_eq!(function(21), 42);
    }

    #[test]
    fn a_place_outside_of_code_is_refused() {
        let data = Box::new(1);
        let address: *const i32 = &raw const *data;
        assert!(place_of(address.cast()).is_err());
        let token = token(never, twice).unwrap();
        for wrong in [
            CodePlace { offset: u32::MAX, ..token.function },
            CodePlace { offset: 0, ..token.function },
            CodePlace { image: token.function.image ^ 1, ..token.function },
            CodePlace { image: token.function.image ^ 1 << 40, ..token.function },
        ] {
            assert!(resolve::<Arena>(FunctionToken { function: wrong, ..token }).is_err());
            assert!(resolve::<Arena>(FunctionToken { trampoline: wrong, ..token }).is_err());
        }
    }

    #[test]
    fn a_function_of_a_shared_library_has_a_place_too() {
        let address = libc::getpid as *const c_void;
        let place = place_of(address).unwrap();
        assert_eq!(address_of(place).unwrap(), address);
        assert_eq!(fingerprint().unwrap(), fingerprint().unwrap());
    }
}
