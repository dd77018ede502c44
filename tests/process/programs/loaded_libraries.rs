//! Functions of libraries that come and go while the program runs.

use std::ffi::CString;
use std::process::Command;
use std::sync::Mutex;

use crate::support::{ProcessGate, replacing, trials};

trials![
    a_function_of_a_library_that_is_loaded_on_both_sides,
    another_library_in_the_place_of_one_is_not_taken_for_it,
];

/// These tests load one library in place of another, in this process as well: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Two libraries without a build id that differ in one instruction.
fn libraries() -> (ProcessGate, [String; 2]) {
    let place = ProcessGate::new();
    let build = |name: &str, sum: u32| {
        let [source, library] = ["c", "so"].map(|kind| format!("{}/{name}.{kind}", place.name()));
        let text = format!("unsigned long long sum(unsigned long long n) {{ return n + {sum}; }}");
        std::fs::write(&source, text).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-nostdlib", "-Wl,--build-id=none", "-o", &library]);
        assert!(compile.arg(&source).status().unwrap().success());
        library
    };
    let libraries = [build("one", 1), build("two", 2)];
    (place, libraries)
}

/// The library that this process has loaded; its handle, as a number.
static LOADED: Mutex<Option<usize>> = Mutex::new(None);

/// Loads a library in place of the one before; gives where its function is.
fn load(library: String) -> u64 {
    let mut loaded = LOADED.lock().unwrap();
    if let Some(before) = loaded.take() {
        // SAFETY: opened below; nobody calls what is in it any more.
        unsafe { libc::dlclose(std::ptr::with_exposed_provenance_mut(before)) };
    }
    let library = CString::new(library).unwrap();
    // SAFETY: a library without constructors.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    *loaded = Some(handle.expose_provenance());
    // SAFETY: a live handle.
    unsafe { libc::dlsym(handle, c"sum".as_ptr()) }.expose_provenance() as u64
}

/// The function of the library that is loaded here. A number goes in and comes out of a Rust function as
/// of a C function here, which is all that this needs.
fn function(address: u64) -> fn(u64) -> u64 {
    let address = std::ptr::with_exposed_provenance::<()>(address as usize);
    // SAFETY: see above.
    unsafe { std::mem::transmute::<*const (), fn(u64) -> u64>(address) }
}

fn a_function_of_a_library_that_is_loaded_on_both_sides() {
    let _turn = TURN.lock();
    let (_place, [one, two]) = libraries();
    let pool = replacing(1);
    for (library, sum) in [(&one, 1), (&two, 2), (&one, 1)] {
        let function = function(load(library.clone()));
        pool.submit(load, library.clone()).unwrap().into_result().unwrap();
        for n in 0..3 {
            assert_eq!(pool.submit(function, n).unwrap().into_result().unwrap(), n + sum);
        }
    }
}

fn another_library_in_the_place_of_one_is_not_taken_for_it() {
    let _turn = TURN.lock();
    let (_place, [one, two]) = libraries();
    let pool = replacing(1);
    let function = function(load(one.clone()));
    let first = pool.submit(load, one).unwrap().into_result().unwrap();
    assert_eq!(pool.submit(function, 1).unwrap().into_result().unwrap(), 2);
    let second = pool.submit(load, two).unwrap().into_result().unwrap();
    assert_eq!(first, second, "the loader has put it somewhere else, so that this shows nothing");
    let error = pool.submit(function, 1).unwrap().into_result().unwrap_err();
    assert!(error.to_string().contains("plug-in"), "{error}");
}
