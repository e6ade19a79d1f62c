//! A division of a size that did not do what was foretold is compared with the same bits everywhere.
//!
//! What a division costs is foretold to second order and as a sum over the matrices. A file that is much worse on its
//! card than that is no good sign; then the largest codes that fit everywhere are tried as well, and the better of
//! the two files stays.

use super::quality::Quality;
use super::{ConvertError, Options, Summary, convert};
use crate::budget::{self, Target};
use crate::progress::Progress;
use crate::source::Checkpoint;
use std::time::Instant;

/// How many times what was foretold is still taken for it: the card's text is another one and short.
const FACTOR: f64 = 2.0;
/// Nats that integers and the card's few predictions may add.
const MARGIN: f64 = 0.05;

/// What stays of a conversion: its file, or one of uniform codes where that is due and better. A file that was refused as
/// useless counts as one that did not do what was foretold.
pub(super) fn check(
    options: &Options,
    source: &Checkpoint,
    divided: Result<Summary, ConvertError>,
    (progress, started): (&dyn Progress, Instant),
) -> Result<Summary, ConvertError> {
    let size = match options.target {
        Some(t @ (Target::BitsPerWeight(_) | Target::Bytes(_))) => t,
        _ => return divided,
    };
    let due = |q: &Quality, foretold: f64| q.kl_mean > FACTOR * foretold + MARGIN;
    let found = match &divided {
        Ok(summary) => match summary.quality().zip(summary.predicted_kl) {
            Some((quality, foretold)) if due(&quality, foretold) => quality.kl_mean,
            _ => return divided,
        },
        Err(ConvertError::Useless { kl, .. }) => *kl,
        Err(_) => return divided,
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
        // Beside a file that stays it is there to be compared; instead of one it has to be of use.
        accept_useless: divided.is_ok(),
        ..options.clone()
    };
    let uniform = match convert(&beside, progress) {
        Err(ConvertError::Useless { .. }) => return divided,
        other => other?,
    };
    let kl = uniform.quality().map_or(f64::INFINITY, |q| q.kl_mean);
    let (both, seconds) = (Some([found, kl]), started.elapsed().as_secs_f64());
    match divided {
        Ok(divided) if kl >= found => {
            std::fs::remove_file(&beside.output).ok();
            Ok(Summary {
                uniform: both,
                seconds,
                ..divided
            })
        }
        divided => {
            let path = options.output.clone();
            let renamed = std::fs::rename(&beside.output, &path);
            renamed.map_err(|error| ConvertError::Write { path, error })?;
            Ok(Summary {
                uniform: both,
                predicted_kl: divided.ok().and_then(|d| d.predicted_kl),
                seconds,
                ..uniform
            })
        }
    }
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
        let found = check(&options, &source, Ok(divided), (&Silent, Instant::now())).unwrap();
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

    #[test]
    fn a_useless_division_gives_way_to_a_file_of_use() {
        let folder = tempfile::tempdir().unwrap();
        let options = |bits| Options {
            source: Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/facet-6m"),
            output: folder.path().join("model.gguf"),
            target: Some(Target::BitsPerWeight(bits)),
            card: Some(CardText::default()),
            ..Options::default()
        };
        let useless = || {
            Err(ConvertError::Useless {
                kl: 9.0,
                ppl: 1e9,
                reference_ppl: 10.0,
            })
        };
        let source = Checkpoint::open(&options(4.5).source).unwrap();
        let check = |bits| {
            check(
                &options(bits),
                &source,
                useless(),
                (&Silent, Instant::now()),
            )
        };
        // One bit everywhere is of no use either.
        let refused = check(1.25);
        assert!(matches!(
            refused,
            Err(ConvertError::Useless { kl: 9.0, .. })
        ));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let uniform = check(4.5).unwrap().uniform.unwrap();
        assert!(uniform[0] == 9.0 && uniform[1] < 0.1);
        assert!(options(4.5).output.exists());
    }
}
