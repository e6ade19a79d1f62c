//! A division of a size that did not do what was foretold is compared with the same bits everywhere.
//!
//! What a division costs is foretold to second order and as a sum over the matrices. A file that is much worse on its
//! card than that is no good sign; then the largest codes that fit everywhere are tried as well, and the better of
//! the two files stays.

use super::{ConvertError, Options, Summary, convert};
use crate::budget::{self, Target};
use crate::progress::Progress;
use crate::source::Checkpoint;

/// How many times what was foretold is still taken for it: the card's text is another one and short.
const FACTOR: f64 = 2.0;
/// Nats that integers and the card's few predictions may add.
const MARGIN: f64 = 0.05;

/// The summary of the file that stays, of the one that was written and of one of uniform codes where that is due.
pub(super) fn check(
    options: &Options,
    source: &Checkpoint,
    divided: Summary,
    progress: &dyn Progress,
) -> Result<Summary, ConvertError> {
    let size = match options.target {
        Some(t @ (Target::BitsPerWeight(_) | Target::Bytes(_))) => t,
        _ => return Ok(divided),
    };
    let quality = divided.quality();
    let found = quality.zip(divided.predicted_kl);
    let Some((quality, _)) = found.filter(|(q, kl)| q.kl_mean > FACTOR * kl + MARGIN) else {
        return Ok(divided);
    };
    let hyper = source.hyper();
    let coding = budget::uniform(hyper, size.bytes(hyper));
    let mut name = options.output.clone().into_os_string();
    name.push(".uniform");
    let beside = Options {
        output: name.into(),
        target: None,
        bits: coding.encoding.bits(),
        group: coding.group,
        force: true,
        accept_useless: true,
        ..options.clone()
    };
    let uniform = convert(&beside, progress)?;
    let kl = uniform.quality().map_or(f64::INFINITY, |q| q.kl_mean);
    let both = Some([quality.kl_mean, kl]);
    if kl < quality.kl_mean {
        std::fs::rename(&beside.output, &options.output).map_err(|error| ConvertError::Write {
            path: options.output.clone(),
            error,
        })?;
        return Ok(Summary {
            uniform: both,
            predicted_kl: divided.predicted_kl,
            seconds: divided.seconds + uniform.seconds,
            ..uniform
        });
    }
    std::fs::remove_file(&beside.output).ok();
    Ok(Summary {
        uniform: both,
        seconds: divided.seconds + uniform.seconds,
        ..divided
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::CardText;
    use crate::progress::Silent;
    use std::path::Path;

    /// A file of so many bits that was to have no divergence, checked beside 2.5 bits a weight everywhere; the
    /// divergences and what lies in the folder.
    fn checked(bits: f64) -> ([f64; 2], Vec<std::ffi::OsString>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options {
            source: Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/facet-6m"),
            output: folder.path().join("model.gguf"),
            bits,
            card: Some(CardText::default()),
            accept_useless: true,
            ..Options::default()
        };
        let divided = Summary {
            predicted_kl: Some(0.0),
            ..convert(&options, &Silent).unwrap()
        };
        options.target = Some(Target::BitsPerWeight(2.5));
        let source = Checkpoint::open(&options.source).unwrap();
        let found = check(&options, &source, divided, &Silent).unwrap();
        let bytes = std::fs::metadata(&options.output).unwrap().len();
        assert_eq!(found.bytes, bytes);
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names = names.map(|e| e.unwrap().file_name()).collect();
        let kl = found.quality().unwrap().kl_mean;
        let both = found.uniform.unwrap();
        assert_eq!(kl, both[0].min(both[1]));
        (both, names, bytes)
    }

    #[test]
    fn the_better_file_stays_alone() {
        let ([divided, uniform], names, small) = checked(1.0);
        assert!(uniform < divided && names == ["model.gguf"]);
        let ([divided, uniform], names, large) = checked(3.0);
        assert!(divided < uniform && names == ["model.gguf"]);
        assert!(small < large);
    }
}
