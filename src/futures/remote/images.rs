//! The program images of this process, as the loader lists them: the executable and its shared libraries.
//!
//! The executable stays as long as the process. A library may be unloaded and another one loaded to the
//! same addresses, so the list of libraries is rebuilt whenever the loader has changed its own.

use std::ffi::{c_char, c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::offset_of;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as ProgramHeader;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as ProgramHeader;
use libc::dl_phdr_info;

use crate::sync::Mutex;

/// A function that `.init_array` points to. Some C libraries pass the arguments of `main`.
pub type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// A loaded program image.
pub(super) struct Image {
    base: usize,
    code: Vec<Range<usize>>,
    /// A hash that tells the image from others: of its program headers and its build id, or, for a library
    /// without one, of its contents. `None` if those cannot be read.
    pub(super) name: Option<u64>,
    #[cfg(feature = "mpi")]
    pub(super) has_build_id: bool,
    pub(super) wants_loader: bool,
    /// The addresses of its array of constructors.
    pub(super) constructors: Range<usize>,
}

impl Image {
    /// The offset of an address of its code.
    pub(super) fn offset_of(&self, address: usize) -> Option<u32> {
        let offset = u32::try_from(address.checked_sub(self.base)?).ok()?;
        self.contains(address).then_some(offset)
    }

    pub(super) fn address_of(&self, offset: u32) -> Option<usize> {
        let address = self.base.checked_add(offset as usize)?;
        self.contains(address).then_some(address)
    }

    fn contains(&self, address: usize) -> bool {
        self.code.iter().any(|range| range.contains(&address))
    }
}

/// The first result of `find`, called with each image.
pub(super) fn find<T>(find: impl Fn(&Image) -> Option<T>) -> Option<T> {
    let found = executable().and_then(&find);
    found.or_else(|| libraries().iter().find_map(&find))
}

pub(super) fn executable() -> Option<&'static Image> {
    static EXECUTABLE: OnceLock<Option<Image>> = OnceLock::new();
    let list = || {
        let mut executable = None;
        visit(|info, _| {
            executable = read(info, false);
            false // the executable is the first
        });
        executable
    };
    EXECUTABLE.get_or_init(list).as_ref()
}

/// A hash of the executable's contents, for builds without a build id. `None` if they cannot be read.
#[cfg(feature = "mpi")]
pub(super) fn executable_content() -> Option<u64> {
    let mut content = None;
    visit(|info, _| {
        let mut hasher = DefaultHasher::new();
        content = hash_contents(info, &mut hasher).then(|| hasher.finish());
        false
    });
    content
}

/// How many images the loader has added and removed so far.
type Changes = (u64, u64);

fn libraries() -> Arc<[Image]> {
    static KNOWN: Mutex<Option<(Changes, Arc<[Image]>)>> = Mutex::new(None);
    let mut now = None;
    visit(|_, changes| {
        now = changes;
        false
    });
    let mut known = KNOWN.lock();
    match &*known {
        Some((then, libraries)) if now == Some(*then) => return Arc::clone(libraries),
        _ => {}
    }
    let (mut images, mut then) = (Vec::new(), None);
    visit(|info, changes| {
        images.extend(read(info, true));
        then = changes;
        true
    });
    let libraries = images.into_iter().skip(1).collect();
    *known = then.map(|then| (then, Arc::clone(&libraries)));
    libraries
}

/// Calls `each` for each image, the executable first, until it returns false. The loader does not change
/// its list meanwhile.
fn visit<F: FnMut(&dl_phdr_info, Option<Changes>) -> bool>(mut each: F) {
    unsafe extern "C" fn one<F: FnMut(&dl_phdr_info, Option<Changes>) -> bool>(
        info: *mut dl_phdr_info,
        size: usize,
        each: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader passes a valid structure, of which `size` bytes are there.
        let info = unsafe { &*info };
        // SAFETY: `visit` has passed it, and nothing else uses it meanwhile.
        let each = unsafe { &mut *each.cast::<F>() };
        let counts = size >= offset_of!(dl_phdr_info, dlpi_subs) + size_of::<u64>();
        c_int::from(!each(info, counts.then_some((info.dlpi_adds, info.dlpi_subs))))
    }
    let data: *mut F = &raw mut each;
    // SAFETY: `one` is called during this call only, and `each` outlives it.
    unsafe { libc::dl_iterate_phdr(Some(one::<F>), data.cast()) };
}

fn headers(info: &dl_phdr_info) -> &[ProgramHeader] {
    if info.dlpi_phdr.is_null() {
        return &[];
    }
    // SAFETY: the loader's table of `dlpi_phnum` program headers stays while the image is loaded.
    unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
}

/// The addresses of a segment.
fn place(info: &dl_phdr_info, header: &ProgramHeader) -> Range<usize> {
    let at = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
    at..at.saturating_add(header.p_memsz as usize)
}

/// Reads the loader's entry of an image. If `contents_wanted`, the name of an image without a build id
/// covers its contents.
fn read(info: &dl_phdr_info, contents_wanted: bool) -> Option<Image> {
    let base = usize::try_from(info.dlpi_addr).ok()?;
    let mut hasher = DefaultHasher::new();
    let mut code = Vec::new();
    let (mut constructors, mut has_build_id, mut wants_loader) = (0..0, false, false);
    for header in headers(info) {
        let kept = (header.p_type, header.p_flags, header.p_offset, header.p_vaddr);
        (kept, header.p_filesz, header.p_memsz).hash(&mut hasher);
        let place = place(info, header);
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => code.push(place),
            libc::PT_NOTE if header.p_flags & libc::PF_R != 0 => {
                // SAFETY: notes are part of a readable loaded segment; no code writes to them.
                let notes = unsafe { bytes_at(place) };
                notes.hash(&mut hasher);
                has_build_id |= holds_build_id(notes, header.p_align as usize);
            }
            libc::PT_DYNAMIC => {
                // SAFETY: the dynamic section is loaded, aligned, and an array of pairs of words.
                let entries =
                    unsafe { words_at(place.start, place.len() / size_of::<[usize; 2]>()) };
                constructors = constructor_array(base, entries);
            }
            libc::PT_INTERP => wants_loader = true,
            _ => {}
        }
    }
    let named = has_build_id || !contents_wanted || hash_contents(info, &mut hasher);
    let name = named.then(|| hasher.finish());
    Some(Image {
        base,
        code,
        name,
        #[cfg(feature = "mpi")]
        has_build_id,
        wants_loader,
        constructors,
    })
}

/// Hashes the parts of an image that are the same in every process: the segments that are not writable.
/// False if one of them cannot be read.
fn hash_contents(info: &dl_phdr_info, hasher: &mut DefaultHasher) -> bool {
    let fixed = headers(info)
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0);
    for header in fixed {
        if header.p_flags & libc::PF_R == 0 {
            return false;
        }
        // SAFETY: a loaded segment that can be read and not written.
        unsafe { bytes_at(place(info, header)) }.hash(hasher);
    }
    true
}

/// Whether these notes contain a build id. A note is three words (length of the name, length of the
/// contents, type), then name and contents, each padded to the alignment.
fn holds_build_id(mut notes: &[u8], align: usize) -> bool {
    const BUILD_ID: u32 = 3;
    /// Shorter ids do not tell builds apart.
    const SHORTEST: usize = 8;
    let align = if align == 8 { 8 } else { 4 };
    while let Some((head, rest)) = notes.split_first_chunk::<12>() {
        let word =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (name, contents) = (word(0) as usize, word(4) as usize);
        // The three words are no multiple of eight bytes: they are padded together with the name.
        let padded_name = (12 + name).next_multiple_of(align) - 12;
        if word(8) == BUILD_ID && rest.starts_with(b"GNU\0") && name == 4 && contents >= SHORTEST {
            return true;
        }
        let Some(next) = padded_name.checked_add(contents.next_multiple_of(align)) else {
            return false;
        };
        let Some(next) = rest.get(next..) else { return false };
        notes = next;
    }
    false
}

/// # Safety
///
/// The bytes there can be read, and stay as they are.
unsafe fn bytes_at<'a>(place: Range<usize>) -> &'a [u8] {
    let at = std::ptr::with_exposed_provenance(place.start);
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(at, place.len()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_found_among_notes() {
        fn note(name: &[u8], kind: u32, contents: &[u8], align: usize) -> Vec<u8> {
            let mut bytes = (name.len() as u32).to_ne_bytes().to_vec();
            bytes.extend((contents.len() as u32).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            for part in [name, contents] {
                bytes.extend(part);
                bytes.resize(bytes.len().next_multiple_of(align), 0);
            }
            bytes
        }
        for align in [4, 8] {
            let property = note(b"GNU\0", 5, &[1; 16], align);
            let other = note(b"Linux\0", 3, &[1; 20], align);
            let build_id = note(b"GNU\0", 3, &[7; 20], align);
            assert!(!holds_build_id(&[&property[..], &other].concat(), align));
            assert!(holds_build_id(&[&property[..], &other, &build_id].concat(), align));
            assert!(!holds_build_id(&note(b"GNU\0", 3, &[7; 1], align), align), "a fixed one");
            assert!(!holds_build_id(&build_id[..10], align));
        }
        assert!(!holds_build_id(&[255; 40], 4));
    }

    #[test]
    fn libraries_are_listed_anew_when_the_loader_has_changed_its_list() {
        let before = libraries();
        assert!(Arc::ptr_eq(&before, &libraries()));
        // SAFETY: a library without effects on anything else.
        let library = unsafe { libc::dlopen(c"libBrokenLocale.so.1".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return; // another C library
        }
        assert_eq!(libraries().len(), before.len() + 1);
        // SAFETY: opened above.
        unsafe { libc::dlclose(library) };
        assert_eq!(libraries().len(), before.len());
    }

    #[test]
    fn contents_tell_images_apart_and_are_the_same_each_time() {
        let contents = || {
            let mut all = Vec::new();
            visit(|info, _| {
                let mut hasher = DefaultHasher::new();
                all.push(hash_contents(info, &mut hasher).then(|| hasher.finish()));
                true
            });
            all
        };
        let (first, second) = (contents(), contents());
        assert_eq!(first, second);
        let mut different = first.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), first.len());
    }
}
