//! What kind of failure it is, in one word that scripts may rely on.

use super::{Interrupted, Usage};
use carat::internals::GenerateError;
use carat_converter::calibrate::CalibrationError;
use carat_converter::convert::ConvertError;
use carat_converter::hf_tokenizer::HfTokenizerError;
use carat_converter::source::SourceError;
use carat_converter::text::TextError;
use std::error::Error;
use std::io;

/// The command line is wrong.
pub const USAGE: &str = "usage";
const INTERRUPTED: &str = "interrupted";
/// Nothing is at a path.
const NOT_FOUND: &str = "not_found";
/// The system refuses a file for another reason.
const IO: &str = "io";
/// What is given for a model is none.
const NO_MODEL: &str = "no_model";
/// A model that Carat does not run.
const UNSUPPORTED: &str = "unsupported";
/// A file that is cut, damaged or contradicts itself.
const INVALID: &str = "invalid_file";
const DEVICE: &str = "device";
/// A file is in the way.
const EXISTS: &str = "exists";
/// A conversion's result would be no model any more.
const USELESS: &str = "useless";
/// A hub does not answer, or not as a hub does.
const NETWORK: &str = "network";
/// A hub wants to know who asks, or refuses who does.
const ACCESS: &str = "access";
/// Bytes without the hash that is stated of them.
const DAMAGED: &str = "damaged";
/// A chat template fails or refuses.
const TEMPLATE: &str = "template";
/// All else.
const FAILED: &str = "failed";

/// The code of a failure.
pub fn of(error: &anyhow::Error) -> &'static str {
    if error.is::<Usage>() {
        return USAGE;
    }
    if error.is::<Interrupted>() {
        return INTERRUPTED;
    }
    error.chain().find_map(known).unwrap_or(FAILED)
}

fn known(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(e) = cause.downcast_ref::<carat::internals::Error>() {
        return Some(engine(e));
    }
    if let Some(e) = cause.downcast_ref::<GenerateError>() {
        return match e {
            GenerateError::Engine(e) => Some(engine(e)),
            GenerateError::Params(_) | GenerateError::Stop(_) => Some(USAGE),
            _ => None,
        };
    }
    if let Some(e) = cause.downcast_ref::<ConvertError>() {
        return convert(e);
    }
    if let Some(e) = cause.downcast_ref::<SourceError>() {
        return Some(source(e));
    }
    if let Some(e) = cause.downcast_ref::<HfTokenizerError>() {
        return Some(tokenizer(e));
    }
    if let Some(e) = cause.downcast_ref::<TextError>() {
        return text(e);
    }
    if let Some(e) = cause.downcast_ref::<carat_hub::Error>() {
        return Some(hub(e));
    }
    if let Some(e) = cause.downcast_ref::<io::Error>() {
        return Some(system(e));
    }
    let is_template = cause.is::<carat_text::template::ChatError>()
        || cause.is::<carat_text::template::TemplateError>()
        || cause.is::<crate::prompt::NoConversation>();
    let is_invalid = cause.is::<carat_gguf::Error>()
        || cause.is::<carat_text::tokenizer::TokenizerError>()
        || cause.is::<carat_gguf::KeyError>()
        || cause.is::<carat_format::FormatError>();
    match (is_template, is_invalid) {
        (true, _) => Some(TEMPLATE),
        (_, true) => Some(INVALID),
        _ => None,
    }
}

fn system(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        io::ErrorKind::AlreadyExists => EXISTS,
        _ => IO,
    }
}

fn engine(error: &carat::internals::Error) -> &'static str {
    use carat::ErrorCode as C;
    if let carat::internals::Error::Io { source, .. } = error {
        return system(source);
    }
    match error.code() {
        C::DeviceLost => DEVICE,
        C::Cancelled => INTERRUPTED,
        // Of a token that does not exist, or of none.
        C::Parameter => FAILED,
        code => code.name(),
    }
}

fn hub(error: &carat_hub::Error) -> &'static str {
    use carat_hub::Error as E;
    match error {
        E::Name { .. } | E::Endpoint { .. } => USAGE,
        E::RepositoryNotFound { .. }
        | E::RevisionNotFound { .. }
        | E::FileNotFound { .. }
        | E::PartsMissing { .. }
        | E::Offline { .. } => NOT_FOUND,
        E::NoModel { .. } | E::Ambiguous { .. } => NO_MODEL,
        E::Gated { .. } | E::Unauthorised { .. } | E::Token { .. } => ACCESS,
        E::Verification { .. } | E::Size { .. } => DAMAGED,
        E::UnsafeName { .. } | E::TooLarge { .. } => INVALID,
        E::Io { error, .. } => system(error),
        E::DiskFull { .. } | E::NoCache | E::Certificates { .. } => IO,
        E::Cancelled { .. } => INTERRUPTED,
        E::Network { .. }
        | E::Tls { .. }
        | E::RateLimited { .. }
        | E::Status { .. }
        | E::Answer { .. }
        | E::Redirect { .. } => NETWORK,
    }
}

fn source(error: &SourceError) -> &'static str {
    use SourceError as E;
    match error {
        E::Io { error, .. } => system(error),
        E::NotFound { .. } | E::MissingShard { .. } => NOT_FOUND,
        E::NoModel { .. }
        | E::UnknownKind { .. }
        | E::BareSafetensors { .. }
        | E::Pickle { .. } => NO_MODEL,
        E::Architecture { .. }
        | E::Unsupported { .. }
        | E::Multimodal { .. }
        | E::UnknownField { .. }
        | E::UnknownTensor { .. }
        | E::Type { .. } => UNSUPPORTED,
        _ => INVALID,
    }
}

fn tokenizer(error: &HfTokenizerError) -> &'static str {
    use HfTokenizerError as E;
    match error {
        E::Read { error, .. } => system(error),
        E::Missing { .. } => NOT_FOUND,
        E::Source(e) => source(e),
        E::Structure { .. } => UNSUPPORTED,
        _ => INVALID,
    }
}

/// A text's fault may be its model's.
fn text(error: &TextError) -> Option<&'static str> {
    use TextError as E;
    Some(match error {
        E::Read { error, .. } => system(error),
        E::Directory(e) => tokenizer(e),
        E::Tokenizer { .. } | E::Token { .. } => INVALID,
        _ => return None,
    })
}

fn convert(error: &ConvertError) -> Option<&'static str> {
    use ConvertError as E;
    Some(match error {
        E::Source(e) => source(e),
        E::Tokenizer(e) => tokenizer(e),
        E::Text(e) | E::CardText(e) | E::Calibration(CalibrationError::Text(e)) => return text(e),
        E::Engine(e) => engine(e),
        E::Useless { .. } => USELESS,
        E::TargetExists { .. } => EXISTS,
        E::TargetDirectory { error, .. } | E::Write { error, .. } => system(error),
        E::DiskFull { .. } | E::Busy { .. } => IO,
        E::Cancelled | E::Paused { .. } => INTERRUPTED,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn the_kind_is_found_behind_contexts() {
        let io = |kind| {
            Err::<(), _>(io::Error::from(kind))
                .context("a.gguf")
                .unwrap_err()
        };
        assert_eq!(of(&io(io::ErrorKind::NotFound)), "not_found");
        assert_eq!(of(&io(io::ErrorKind::PermissionDenied)), "io");
        let full = carat::internals::Error::ContextFull {
            asked: 2,
            used: 0,
            context: 1,
        };
        assert_eq!(of(&GenerateError::Engine(full).into()), "context_full");
        let gone = SourceError::NotFound { path: "x".into() };
        let gone = anyhow::Error::from(ConvertError::Source(gone)).context("while converting");
        assert_eq!(of(&gone), "not_found");
        let absent = || HfTokenizerError::Missing { file: "x".into() };
        assert_eq!(of(&ConvertError::Tokenizer(absent()).into()), "not_found");
        let text = ConvertError::Text(TextError::Directory(absent().into()));
        assert_eq!(of(&text.into()), "not_found");
        let json = HfTokenizerError::Json {
            file: "x".into(),
            error: "no".into(),
        };
        assert_eq!(of(&ConvertError::Tokenizer(json).into()), "invalid_file");
        assert_eq!(of(&Usage("no".into()).into()), "usage");
        assert_eq!(of(&anyhow!("no")), "failed");
    }
}
