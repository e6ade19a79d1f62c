#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    carat_gguf::fuzzing::drive(data);
});
