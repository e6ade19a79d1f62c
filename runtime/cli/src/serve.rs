//! `carat serve`: models over HTTP.

use crate::args::ServeArgs;
use crate::failure::Usage;
use crate::input::{self, Input};
use crate::speculation::Smaller;
use crate::values::Length;
use crate::{cache, interrupt, lora, memory, term};
use anyhow::{Context, Result, bail};
use carat::internals::Verify;
use carat_server::{App, Config, Folder, Hosted, HostedOptions, Server, Shelf};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Positions of a context where the user does not say.
const DEFAULT_CONTEXT: u32 = 4096;
/// Between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(50);
/// Shortest key that is no guess.
const SHORT_KEY: usize = 16;

/// Runs the command.
pub fn run(args: ServeArgs) -> Result<()> {
    let models = models(&args)?;
    if models.len() > 1 && !args.adapters.lora.is_empty() {
        let text =
            "--lora: an adapter is of one model, and several are served; serve that model alone";
        return Err(Usage(text.into()).into());
    }
    let keys = match &args.api_key_file {
        Some(file) => keys(file)?,
        None => Vec::new(),
    };
    warn_of_strangers(&args, keys.is_empty());
    let slots = args.slot_save_path.as_deref();
    let slots = slots.map(|path| Folder::new(path).with_context(|| path.display().to_string()));
    let config = Config {
        keys,
        slots: slots.transpose()?,
        body: usize::try_from(args.max_body).unwrap_or(usize::MAX),
        queue: args.queue as usize,
        patience: Duration::from_secs(args.read_timeout.into()),
        grace: Duration::from_secs(args.grace.into()),
        origins: args.cors.clone(),
        page: !args.no_page,
        ..Config::default()
    };
    let names: Vec<String> = models.keys().cloned().collect();
    let (most, limit) = (args.models_max as usize, args.memory.memory_limit);
    let addresses =
        args.host
            .split(',')
            .map(|host| match host.contains(':') && !host.starts_with('[') {
                true => format!("[{host}]:{}", args.port),
                false => format!("{host}:{}", args.port),
            });
    let addresses: Vec<String> = addresses.collect();
    let template = args.template.as_deref().map(input::read_text).transpose()?;
    let (as_json, single) = (args.json, names.len() == 1);
    let shown = names.join(", ");
    let opener = move |name: &str| {
        let path = models.get(name).map(PathBuf::as_path);
        let path = path.ok_or_else(|| format!("there is no model '{name}'"))?;
        load(name, path, &args, template.clone()).map_err(|e| format!("{e:#}"))
    };
    let shelf = Shelf::new(names, most, limit, Box::new(opener));
    let app = App::new(shelf, config);
    interrupt::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the threads of the server")?;
    runtime.block_on(async {
        let server = Server::bind(app.clone(), &addresses).await?;
        // With one model, what is wrong with it shows now.
        if single {
            app.warm().await.map_err(anyhow::Error::msg)?;
        }
        let addresses = server.addresses();
        let urls: Vec<String> = addresses.iter().map(|a| format!("http://{a}")).collect();
        if as_json {
            let address = addresses.first().map(ToString::to_string);
            term::print_json(&json!({"address": address, "url": urls.first(), "urls": urls}))?;
        }
        term::note(&format!(
            "serving {shown} at {} (Ctrl-C ends it; /openapi.json describes it)",
            urls.join(" and ")
        ));
        server.run(ended()).await;
        anyhow::Ok(())
    })?;
    term::note("the server has ended");
    Ok(())
}

/// Ready when the program is asked to end.
async fn ended() {
    while !interrupt::requested() {
        tokio::time::sleep(LOOK).await;
    }
    term::note("ending: answers under way may go on; Ctrl-C again breaks them off");
}

/// Loads one model.
fn load(name: &str, path: &Path, args: &ServeArgs, template: Option<String>) -> Result<Hosted> {
    let shown = || path.display().to_string();
    let prepared = cache::prepare_to_generate(path, &args.cache, args.place.threads)?;
    let prepared = prepared.in_memory(args.memory.map.no_mmap, args.memory.memory_limit);
    let model = Arc::new(prepared.open(Verify::Hashes)?);
    let trained = model.spec().context_length;
    let smaller = args
        .speculation
        .open(&args.cache, &args.memory, args.place.threads)?;
    let mut options = HostedOptions {
        device: args.place.device.clone(),
        context: args.ctx.unwrap_or(DEFAULT_CONTEXT.min(trained)),
        parallel: args.parallel,
        threads: args.place.threads,
        memory_limit: args.memory.memory_limit,
        template,
        temperature: args.temp,
        seed: args.seed,
        max_tokens: match args.length {
            Some(Length::Tokens(n)) => Some(n),
            Some(Length::Unlimited) | None => None,
        },
        cache: args.place.kv,
        adapters: lora::load(&args.adapters, &model)?,
        lookup: args.speculation.lookup(),
        smaller: smaller.as_ref().map(Smaller::parts),
    };
    if let Some(smaller) = &smaller {
        options.memory_limit = smaller.limit(&options.session())?;
    }
    options.context = memory::fitted(options.session(), &model)
        .with_context(shown)?
        .context;
    Hosted::load(name, model, &options).with_context(shown)
}

/// The models by their names.
///
/// Errors: nothing there; two of a name.
fn models(args: &ServeArgs) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = args.model.clone();
    for path in &paths {
        input::kind(path)?;
    }
    if let Some(directory) = &args.models_dir {
        paths.extend(of_directory(directory)?);
    }
    let mut models = BTreeMap::new();
    for path in paths {
        let name = match (&args.alias, args.model.len(), &args.models_dir) {
            (Some(alias), 1, None) => alias.clone(),
            (Some(_), _, _) => {
                let text = "--alias: it names one model, and there are several; leave it out";
                return Err(Usage(text.into()).into());
            }
            (None, _, _) => name(&path),
        };
        if let Some(other) = models.insert(name.clone(), path.clone()) {
            bail!(
                "{} and {}: both would be called '{name}'; rename one",
                other.display(),
                path.display()
            );
        }
    }
    Ok(models)
}

/// A model's name: of its file without the ending, or of its directory; of a snapshot of a hub the repository's.
fn name(path: &Path) -> String {
    let repository = path.components().rev().find_map(|c| {
        let name = c.as_os_str().to_str()?.strip_prefix("models--")?;
        Some(name.rsplit("--").next().unwrap_or(name).to_owned())
    });
    if let Some(name) = repository.filter(|_| path.is_dir()) {
        return name;
    }
    let named = match path.file_name() {
        Some(_) => path.to_path_buf(),
        // As in `.`.
        None => path.canonicalize().unwrap_or_else(|_| path.into()),
    };
    let name = match path.is_dir() {
        true => named.file_name(),
        false => named.file_stem(),
    };
    name.map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}

/// What can be served of a directory: Carat files, other GGUFs, directories with a checkpoint.
fn of_directory(directory: &Path) -> Result<Vec<PathBuf>> {
    let shown = || directory.display().to_string();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(shown)? {
        let path = entry.with_context(shown)?.path();
        let found = match path.is_dir() {
            true => path.join("config.json").is_file(),
            false => path.extension().is_some_and(|e| e == "gguf"),
        };
        // What is no model is left out; what is damaged says so when it is asked for.
        if found && !matches!(input::kind(&path), Ok(Input::Gguf(a)) if a.is_empty()) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        bail!(
            "{}: there is no model in it; expected .gguf files, or directories with a config.json",
            directory.display()
        );
    }
    paths.sort();
    Ok(paths)
}

/// Keys of a file: one in each line; empty lines and those that begin with # are none.
fn keys(file: &Path) -> Result<Vec<String>> {
    let text = input::read_text(file)?;
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|l| !l.is_empty() && !l.starts_with('#'));
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    if keys.is_empty() {
        bail!(
            "{}: there is no key in it; write one in each line, as from openssl rand -hex 24",
            file.display()
        );
    }
    if keys.iter().any(|k| k.len() < SHORT_KEY) {
        term::warn(&format!(
            "{}: a key has fewer than {SHORT_KEY} characters, which can be guessed",
            file.display()
        ));
    }
    Ok(keys)
}

fn warn_of_strangers(args: &ServeArgs, open: bool) {
    let own = |host: &str| {
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost" || address.is_some_and(|a| a.is_loopback())
    };
    if args.host.split(',').all(own) {
        return;
    }
    match open {
        true => term::warn(&format!(
            "--host {}: whoever reaches this machine can use the server; add --api-key-file, and a proxy with TLS",
            args.host
        )),
        false => term::warn(&format!(
            "--host {}: keys and texts pass the network unencrypted; put a proxy with TLS in front",
            args.host
        )),
    }
}

/// The log of a server tells every request, unless the user wants something else.
pub fn log_of(args: &ServeArgs) -> (&'static str, bool) {
    ("warn,carat_server=info", args.log_json)
}
