//! What the library sentence-transformers keeps beside a checkpoint: how the states of a text's tokens become its vector.

use super::{MAX_JSON, object, plain};
use crate::source::SourceError;
use crate::source::io::read_small;
use crate::text;
use carat_format::Pooling;
use serde_json::{Map, Value};
use std::path::Path;

/// The steps of such a model.
const MODULES: &str = "modules.json";
/// Where the pooling is described, unless the steps say otherwise.
const POOLING: &str = "1_Pooling";

/// How a step changes a vector, by the last part of its type.
const STEPS: [(&str, Step); 4] = [
    ("Transformer", Step::Nothing),
    ("Pooling", Step::Pooling),
    // Vectors are given at length 1 anyway.
    ("Normalize", Step::Nothing),
    // In training alone.
    ("Dropout", Step::Nothing),
];

#[derive(Clone, Copy)]
enum Step {
    Nothing,
    Pooling,
}

/// The kinds of pooling: their switch, their newer name, and what they are here.
const MODES: [(&str, &str, Option<Pooling>); 6] = [
    ("pooling_mode_cls_token", "cls", Some(Pooling::Cls)),
    ("pooling_mode_mean_tokens", "mean", Some(Pooling::Mean)),
    ("pooling_mode_lasttoken", "lasttoken", Some(Pooling::Last)),
    ("pooling_mode_max_tokens", "max", None),
    (
        "pooling_mode_mean_sqrt_len_tokens",
        "mean_sqrt_len_tokens",
        None,
    ),
    ("pooling_mode_weightedmean_tokens", "weightedmean", None),
];
/// The switch that is on where the file is silent.
const ON: &str = "pooling_mode_mean_tokens";

/// How the model in `directory` makes a vector of a text; `None` where nothing there says so.
///
/// Errors: steps or kinds of pooling that are not known here, by name.
pub fn pooling(directory: &Path) -> Result<Option<Pooling>, SourceError> {
    let modules = directory.join(MODULES);
    let folder = match read_small(&modules, MAX_JSON) {
        Err(SourceError::NotFound { .. }) => Some(POOLING.to_string()),
        Err(e) => return Err(e),
        Ok(bytes) => {
            let json = serde_json::from_slice(text::without_mark(&bytes));
            let json = json.map_err(|error| SourceError::Json {
                path: modules.clone(),
                error,
            })?;
            steps(&modules, &json)?
        }
    };
    let Some(folder) = folder else {
        return Ok(None);
    };
    let path = directory.join(folder).join("config.json");
    match object(&path) {
        // The folder is one that a file names, or a guess.
        Err(SourceError::NotFound { .. }) if !modules.exists() => Ok(None),
        Err(e) => Err(e),
        Ok(config) => mode(&path, &config).map(Some),
    }
}

/// The folder of the step that pools, if there is one.
fn steps(path: &Path, json: &Value) -> Result<Option<String>, SourceError> {
    let wrong = |field: String, found: &Value, expected: &str| SourceError::Value {
        path: path.into(),
        field,
        found: found.to_string().chars().take(80).collect(),
        expected: expected.into(),
    };
    let Some(list) = json.as_array() else {
        return Err(wrong("the file".into(), json, "a list of steps"));
    };
    let mut folder = None;
    for (i, step) in list.iter().enumerate() {
        let Some(kind) = step.get("type").and_then(Value::as_str) else {
            return Err(wrong(format!("[{i}]"), step, "an object with a type"));
        };
        let name = kind.rsplit('.').next().unwrap_or(kind);
        match STEPS.iter().find(|s| s.0 == name).map(|s| s.1) {
            Some(Step::Nothing) => {}
            Some(Step::Pooling) => {
                let given = step.get("path").and_then(Value::as_str);
                let Some(given) = given.filter(|p| plain(p)) else {
                    let expected = "the plain name of a folder in the same directory";
                    return Err(wrong(format!("[{i}].path"), step, expected));
                };
                folder = Some(given.to_string());
            }
            None => {
                return Err(SourceError::Unsupported {
                    path: path.into(),
                    field: format!("[{i}].type"),
                    found: kind.chars().take(80).collect(),
                    hint: "; Transformer, Pooling and Normalize are",
                });
            }
        }
    }
    Ok(folder)
}

fn mode(path: &Path, config: &Map<String, Value>) -> Result<Pooling, SourceError> {
    let unsupported = |field: &str, found: String| SourceError::Unsupported {
        path: path.into(),
        field: field.into(),
        found,
        hint: "; one of cls, mean and last token is",
    };
    if let Some(mode) = config.get("pooling_mode").filter(|m| !m.is_null()) {
        let known = MODES.iter().find(|m| mode.as_str() == Some(m.1));
        return known.and_then(|m| m.2).ok_or_else(|| {
            unsupported("pooling_mode", mode.to_string().chars().take(80).collect())
        });
    }
    let on = |key: &str| match config.get(key) {
        None | Some(Value::Null) => key == ON,
        Some(v) => v != &Value::Bool(false),
    };
    let mut chosen = MODES.iter().filter(|m| on(m.0));
    match (chosen.next(), chosen.next()) {
        (Some((.., Some(pooling))), None) => Ok(*pooling),
        (Some((key, ..)), None) => Err(unsupported(key, "true".into())),
        // Vectors of several kinds one after another.
        (Some(_), Some((key, ..))) => Err(unsupported(key, "true beside another".into())),
        (None, _) => Err(unsupported(ON, "false, as all others are".into())),
    }
}
