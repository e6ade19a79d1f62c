//! Converts the bundled checkpoint: what the suite runs under emulators to compare bytes.
//!
//! Usage: convert_facet BITS OUTPUT
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let bits = args.first().and_then(|b| b.parse().ok());
    let (Some(bits), Some(output)) = (bits, args.get(1)) else {
        eprintln!("usage: convert_facet BITS OUTPUT");
        return ExitCode::from(2);
    };
    carat_tests::facet::convert_to(bits, Path::new(output));
    ExitCode::SUCCESS
}
