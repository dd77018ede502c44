#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| concurrent::futures::process::fuzzing::segments(input));
