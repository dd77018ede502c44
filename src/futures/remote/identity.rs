//! How a function crosses: as an offset into a program image that both processes run.
//!
//! Images are loaded at random addresses, so an address means nothing to another process; its
//! distance from the start of the image does. The image is named by a fingerprint of its program
//! headers and build id. A place is looked up among the executable parts of the images that are
//! really loaded, on both sides, before it is used. An address is never a key: the linker merges
//! functions that compile to the same code.

use std::ffi::c_void;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::OnceLock;

use super::codec::{Sink, Source};
use super::wire::{Place, Text, Token};
use crate::error::{Error, Result};

/// Code of ours that knows `A` and `R`: decodes an argument, calls a function, encodes its result.
pub(crate) type Trampoline = fn(Code, &mut Source<'_>, &mut Sink<'_>) -> Verdict;

/// How a call went, in the worker.
#[derive(Debug)]
pub(crate) enum Verdict {
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

/// The token for calling `function` through `trampoline`.
pub(crate) fn token<A, R>(trampoline: Trampoline, function: fn(A) -> R) -> Result<Token> {
    Ok(Token {
        trampoline: place_of(trampoline as *const c_void)?,
        function: place_of(function as *const c_void)?,
    })
}

/// What a token means in this process.
pub(crate) fn resolve(token: Token) -> Result<(Trampoline, Code), String> {
    let trampoline = address_of(token.trampoline)?;
    let function = address_of(token.function)?;
    // SAFETY: the parent took the address from a `Trampoline`, it lies in executable code of an
    // image with the same fingerprint, so the same code is there.
    let trampoline = unsafe { std::mem::transmute::<*const c_void, Trampoline>(trampoline) };
    Ok((trampoline, Code(function)))
}

fn place_of(address: *const c_void) -> Result<Place> {
    let find = |images: &[Image]| images.iter().find_map(|image| image.place_of(address.addr()));
    find(images()).or_else(|| find(&list_images())).ok_or_else(|| {
        Error::InvalidArgument(
            "the function lies in no program image: code made at run time?".into(),
        )
    })
}

fn address_of(place: Place) -> Result<*const c_void, String> {
    let find = |images: &[Image]| images.iter().find_map(|image| image.address_of(place));
    let address = find(images()).or_else(|| find(&list_images())).ok_or_else(|| {
        let Place { image, offset } = place;
        format!("the worker has no code at offset {offset:#x} of image {image:08x}: a plug-in?")
    })?;
    Ok(std::ptr::with_exposed_provenance(address))
}

/// A loaded program image: the executable or a shared library.
struct Image {
    base: usize,
    code: Vec<Range<usize>>,
    fingerprint: u64,
    /// Where its array of constructors is.
    constructors: Range<usize>,
}

impl Image {
    fn name(&self) -> u32 {
        (self.fingerprint >> 32) as u32
    }

    fn contains(&self, address: usize) -> bool {
        self.code.iter().any(|range| range.contains(&address))
    }

    fn place_of(&self, address: usize) -> Option<Place> {
        let offset = u32::try_from(address.checked_sub(self.base)?).ok()?;
        self.contains(address).then_some(Place { image: self.name(), offset })
    }

    fn address_of(&self, place: Place) -> Option<usize> {
        let address = self.base.checked_add(place.offset as usize)?;
        (place.image == self.name() && self.contains(address)).then_some(address)
    }
}

/// The images loaded when this was first asked. The first is the executable.
fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(list_images)
}

/// The fingerprint of the executable, and where this library is in it.
///
/// An error if the library is not part of the executable: then a new process of the executable
/// would not find its way here.
pub(crate) fn fingerprint() -> Result<u64> {
    let refused = || {
        let text = "this library is not part of the main executable but of a shared library or \
                    plug-in: worker processes cannot be started from here";
        Error::InvalidArgument(text.into())
    };
    let executable = images().first().ok_or_else(refused)?;
    let anchor = fingerprint as fn() -> Result<u64> as *const c_void;
    let place = executable.place_of(anchor.addr()).ok_or_else(refused)?;
    let mut hasher = DefaultHasher::new();
    (executable.fingerprint, place.offset).hash(&mut hasher);
    Ok(hasher.finish())
}

/// The addresses of the executable's constructors that come after the one stored at `own`.
pub(crate) fn constructors_after(own: usize) -> Range<usize> {
    let array = images().first().map_or(0..0, |image| image.constructors.clone());
    let next = own + size_of::<usize>();
    if array.contains(&own) { next..array.end } else { 0..0 }
}

fn list_images() -> Vec<Image> {
    let mut images = Vec::<Image>::new();
    let out: *mut Vec<Image> = &raw mut images;
    // SAFETY: `add_image` is called during this call only, and `out` outlives it.
    unsafe { libc::dl_iterate_phdr(Some(add_image), out.cast()) };
    images
}

/// The callback of [`list_images`]: adds one image to the list that `out` points to.
unsafe extern "C" fn add_image(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    out: *mut c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a valid structure.
    let info = unsafe { &*info };
    // SAFETY: `out` is what `list_images` passed, and nobody else uses it meanwhile.
    let images = unsafe { &mut *out.cast::<Vec<Image>>() };
    let Ok(base) = usize::try_from(info.dlpi_addr) else { return 0 };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader's table of `dlpi_phnum` program headers stays while the image is loaded.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let mut hasher = DefaultHasher::new();
    let mut code = Vec::new();
    let mut constructors = 0..0;
    for header in headers {
        let kept = (header.p_type, header.p_flags, header.p_offset, header.p_vaddr);
        (kept, header.p_filesz, header.p_memsz).hash(&mut hasher);
        let (at, len) = (base.wrapping_add(header.p_vaddr as usize), header.p_memsz as usize);
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => {
                code.push(at..at.saturating_add(len));
            }
            libc::PT_NOTE if header.p_flags & libc::PF_R != 0 => {
                // SAFETY: notes are part of a readable loaded segment; they hold the build id.
                unsafe { bytes_at(at, len) }.hash(&mut hasher);
            }
            libc::PT_DYNAMIC => {
                // SAFETY: the dynamic section is loaded, aligned, and an array of pairs of words.
                let entries = unsafe { words_at(at, len / size_of::<[usize; 2]>()) };
                constructors = constructor_array(base, entries);
            }
            _ => {}
        }
    }
    images.push(Image { base, code, fingerprint: hasher.finish(), constructors });
    0
}

/// # Safety
///
/// `len` readable bytes are at `at`, and stay as they are.
unsafe fn bytes_at<'a>(at: usize, len: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(at), len) }
}

/// # Safety
///
/// `len` readable, aligned pairs of words are at `at`, and stay as they are.
unsafe fn words_at<'a>(at: usize, len: usize) -> &'a [[usize; 2]] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(at), len) }
}

/// Finds `DT_INIT_ARRAY` and its size among the entries of a dynamic section.
fn constructor_array(base: usize, entries: &[[usize; 2]]) -> Range<usize> {
    const INIT_ARRAY: usize = 25;
    const INIT_ARRAY_SIZE: usize = 27;
    let find = |tag| entries.iter().find(|entry| entry[0] == tag).map(|entry| entry[1]);
    match (find(INIT_ARRAY), find(INIT_ARRAY_SIZE)) {
        (Some(array), Some(size)) => base + array..base + array + size,
        _ => 0..0,
    }
}

/// Calls the constructors of the executable that come after the one stored at `own`.
pub(crate) fn run_constructors_after(own: usize) {
    for at in constructors_after(own).step_by(size_of::<usize>()) {
        let at = std::ptr::with_exposed_provenance::<Option<extern "C" fn()>>(at);
        // SAFETY: `at` lies in the loader's array of function pointers, which is relocated before
        // the first constructor runs.
        let constructor = unsafe { at.read() };
        if let Some(constructor) = constructor {
            constructor();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(n: u64) -> u64 {
        n * 2
    }

    fn never(_: Code, _: &mut Source<'_>, _: &mut Sink<'_>) -> Verdict {
        Verdict::TooLarge(7)
    }

    #[test]
    fn a_token_leads_back_to_its_function() {
        let token = token(never, twice).unwrap();
        let (_, code) = resolve(token).unwrap();
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
            Place { offset: u32::MAX, ..token.function },
            Place { offset: 0, ..token.function },
            Place { image: token.function.image ^ 1, ..token.function },
        ] {
            assert!(resolve(Token { function: wrong, ..token }).is_err());
            assert!(resolve(Token { trampoline: wrong, ..token }).is_err());
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
