//! Where the stand-ins must not be. `cargo xtask tidy` compiles this file alone to see that it holds.

#[cfg(all(ramson_fuzz_crypto, not(fuzzing)))]
compile_error!("ramson_fuzz_crypto switches all cryptography off; it is for `cargo xtask fuzz` alone");

#[cfg(all(ramson_fuzz_crypto, feature = "aws-lc"))]
compile_error!("ramson_fuzz_crypto goes without aws-lc, which every router is built with");
