//! Which files of a repository are the model.

use crate::Error;
use crate::api::Entry;
use crate::near::near;

/// Files beside the weights that describe a checkpoint: what converters and tokenizers read.
const DESCRIBING: [&str; 18] = [
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "chat_template.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "quantize_config.json",
    "quant_config.json",
];
/// What is taken of several GGUF models where none is named: the nearest to the source that is not twice as large.
const USUAL: [&str; 4] = ["Q8_0", "BF16", "F16", "F32"];
/// Names that an error lists.
const LISTED: usize = 12;
/// Most parts of a model; more than any has, and few enough to name.
const MAX_PARTS: usize = 2000;

/// What was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice<'a> {
    /// The files, by name.
    pub files: Vec<&'a Entry>,
    /// What to give to a program, below the snapshot: a file, a folder, or nothing for the snapshot itself.
    pub give: String,
    /// Whether there were several, of which none was named.
    pub by_default: bool,
}

/// A file's name without ending and part: `a-00002-of-00003.gguf` is part 2 of 3 of `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stem<'a> {
    stem: &'a str,
    /// Number and count.
    part: Option<(usize, usize)>,
}

fn stem<'a>(name: &'a str, ending: &str) -> Option<Stem<'a>> {
    let whole = name.strip_suffix(ending)?;
    let parts = || {
        let (front, count) = whole.rsplit_once("-of-")?;
        let (stem, no) = front.rsplit_once('-')?;
        let number = |t: &str| {
            let digits = t.len() == 5 && t.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| t.parse().ok()).flatten()
        };
        Some((stem, (number(no)?, number(count)?)))
    };
    Some(match parts() {
        Some((stem, part)) => Stem {
            stem,
            part: Some(part),
        },
        None => Stem {
            stem: whole,
            part: None,
        },
    })
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A GGUF model: its files, all of one stem.
struct Model<'a> {
    stem: &'a str,
    files: Vec<&'a Entry>,
}

/// The GGUF models among the files. What lies beside models is none.
fn models(files: &[Entry]) -> Vec<Model<'_>> {
    let mut models: Vec<Model<'_>> = Vec::new();
    for file in files {
        let Some(of) = stem(&file.name, ".gguf") else {
            continue;
        };
        let lower = base(of.stem).to_lowercase();
        if lower.contains("mmproj") || lower.contains("imatrix") {
            continue;
        }
        match models.iter_mut().find(|m| m.stem == of.stem) {
            Some(model) => model.files.push(file),
            None => models.push(Model {
                stem: of.stem,
                files: vec![file],
            }),
        }
    }
    models
}

/// Whether a model's name ends so: `Q4_K` is no ending of `x-Q4_K_M`, nor `8_0` of `x-Q8_0`.
fn ends(stem: &str, tag: &str) -> bool {
    let (stem, tag) = (base(stem).to_lowercase(), tag.to_lowercase());
    let front = stem.strip_suffix(&tag);
    front.is_some_and(|f| !f.ends_with(|c: char| c.is_alphanumeric()))
}

/// Refuses a model of which a part is not there.
fn complete(repository: &str, ending: &str, files: &[&Entry]) -> Result<(), Error> {
    let mut missing = Vec::new();
    for file in files {
        let Some(Stem {
            stem: of,
            part: Some((_, count)),
        }) = stem(&file.name, ending)
        else {
            continue;
        };
        if count > MAX_PARTS {
            return Err(Error::TooLarge {
                what: format!(
                    "{repository}: the number of parts in the name {}",
                    file.name
                ),
                bytes: count as u64,
                limit: MAX_PARTS as u64,
            });
        }
        for no in 1..=count {
            let name = format!("{of}-{no:05}-of-{count:05}{ending}");
            if !files.iter().any(|f| f.name == name) && !missing.contains(&name) {
                missing.push(name);
            }
        }
        // All parts say the same of how many there are.
        break;
    }
    missing.truncate(LISTED);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::PartsMissing {
            repository: repository.into(),
            missing,
        }),
    }
}

fn of_model<'a>(
    repository: &str,
    model: &Model<'a>,
    by_default: bool,
) -> Result<Choice<'a>, Error> {
    complete(repository, ".gguf", &model.files)?;
    // A program is given the first part.
    let give = model.files.iter().map(|f| &f.name).min();
    Ok(Choice {
        files: model.files.clone(),
        give: give.cloned().unwrap_or_default(),
        by_default,
    })
}

/// The safetensors checkpoint in a folder, `""` or `folder/`.
fn checkpoint<'a>(
    repository: &str,
    files: &'a [Entry],
    folder: &str,
) -> Option<Result<Choice<'a>, Error>> {
    let inside = || {
        let below = |f: &'a Entry| Some((f, f.name.strip_prefix(folder)?));
        files.iter().filter_map(below)
    };
    let weights = || inside().filter(|(_, n)| n.ends_with(".safetensors") && !n.contains('/'));
    // Others are the same weights in other forms.
    let is_model = |name: &str| stem(name, ".safetensors").is_some_and(|s| s.stem == "model");
    let named = weights().any(|(_, n)| is_model(n));
    let mut chosen: Vec<&Entry> = weights()
        .filter(|(_, n)| !named || is_model(n))
        .map(|f| f.0)
        .collect();
    // In parts, and whole beside them: the parts are what an index names.
    let parted = |f: &&Entry| stem(&f.name, ".safetensors").is_some_and(|s| s.part.is_some());
    let index = format!("{folder}model.safetensors.index.json");
    if named && files.iter().any(|f| f.name == index) && chosen.iter().any(parted) {
        chosen.retain(|f| parted(f));
    }
    if chosen.is_empty() {
        return None;
    }
    if let Err(error) = complete(repository, ".safetensors", &chosen) {
        return Some(Err(error));
    }
    let describes = |name: &str| {
        DESCRIBING.contains(&name)
            || name.ends_with(".jinja") && name.matches('/').count() < 2
            || name == "adapter_config.json"
    };
    chosen.extend(inside().filter(|(_, n)| describes(n)).map(|f| f.0));
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Ok(Choice {
        files: chosen,
        give: folder.trim_end_matches('/').into(),
        by_default: false,
    }))
}

fn names<'a>(files: impl Iterator<Item = &'a str>) -> Vec<String> {
    files.take(LISTED).map(str::to_owned).collect()
}

/// Chooses what is wanted: a file, a quantization, a folder; or the model where nothing is named.
///
/// Errors: no such file, no model, or several.
pub(crate) fn choose<'a>(
    repository: &str,
    files: &'a [Entry],
    wanted: Option<&str>,
) -> Result<Choice<'a>, Error> {
    let models = models(files);
    match wanted {
        Some(wanted) => named(repository, files, &models, wanted),
        None => usual(repository, files, &models),
    }
}

fn usual<'a>(
    repository: &str,
    files: &'a [Entry],
    models: &[Model<'a>],
) -> Result<Choice<'a>, Error> {
    if let Some(choice) = checkpoint(repository, files, "") {
        return choice;
    }
    match models {
        [] => Err(Error::NoModel {
            repository: repository.into(),
            found: names(files.iter().map(|f| f.name.as_str())),
        }),
        [one] => of_model(repository, one, false),
        several => {
            let usual = USUAL.iter().find_map(|tag| {
                let mut fit = several.iter().filter(|m| ends(m.stem, tag));
                // Two of one quantization are two models.
                fit.next().filter(|_| fit.next().is_none())
            });
            match usual {
                Some(model) => of_model(repository, model, true),
                None => Err(ambiguous(repository, several.iter())),
            }
        }
    }
}

fn named<'a>(
    repository: &str,
    files: &'a [Entry],
    models: &[Model<'a>],
    wanted: &str,
) -> Result<Choice<'a>, Error> {
    if let Some(file) = files.iter().find(|f| f.name == wanted) {
        let model = models.iter().find(|m| m.files.contains(&file));
        // A file alone, unless it is a part of one.
        let parted = model.filter(|m| {
            m.files.len() > 1 || stem(wanted, ".gguf").is_some_and(|s| s.part.is_some())
        });
        return match parted {
            Some(model) => of_model(repository, model, false),
            None => Ok(Choice {
                files: vec![file],
                give: wanted.into(),
                by_default: false,
            }),
        };
    }
    let tag = wanted.strip_suffix(".gguf").unwrap_or(wanted);
    let fit: Vec<&Model<'a>> = models.iter().filter(|m| ends(m.stem, tag)).collect();
    match &fit[..] {
        [] => {}
        [one] => return of_model(repository, one, false),
        several => {
            // `x-Q4_K_M` beside `x-UD-Q4_K_M`: the plain one, whose front begins the others.
            let front = |m: &Model<'a>| &m.stem[..m.stem.len().saturating_sub(tag.len())];
            let plain = several
                .iter()
                .find(|m| several.iter().all(|o| o.stem.starts_with(front(m))));
            return match plain {
                Some(model) => of_model(repository, model, false),
                None => Err(ambiguous(repository, several.iter().copied())),
            };
        }
    }
    let folder = format!("{}/", wanted.trim_end_matches('/'));
    if let Some(choice) = checkpoint(repository, files, &folder) {
        return choice;
    }
    let mut inside = models.iter().filter(|m| m.stem.starts_with(&folder));
    if let Some(first) = inside.next() {
        return match inside.next() {
            None => of_model(repository, first, false),
            Some(_) => Err(ambiguous(
                repository,
                models.iter().filter(|m| m.stem.starts_with(&folder)),
            )),
        };
    }
    let mut alike = near(wanted, files.iter().map(|f| f.name.as_str()));
    if alike.is_empty() {
        alike = names(
            models
                .iter()
                .filter_map(|m| Some(m.files.first()?.name.as_str())),
        );
    }
    Err(Error::FileNotFound {
        repository: repository.into(),
        wanted: wanted.into(),
        near: alike,
    })
}

fn ambiguous<'a: 'm, 'm>(repository: &str, models: impl Iterator<Item = &'m Model<'a>>) -> Error {
    Error::Ambiguous {
        repository: repository.into(),
        found: names(models.filter_map(|m| Some(m.files.first()?.name.as_str()))),
    }
}

#[cfg(test)]
mod tests;
