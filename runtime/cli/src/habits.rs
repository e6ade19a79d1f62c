//! The command line as it is typed, also by people who know llama.cpp or Ollama: their spellings of what there is are
//! understood, and what there is not is answered with what to do instead.

mod known;

use crate::args::Cli;
use crate::term;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use known::{COMMANDS, tip_for};
use std::ffi::{OsStr, OsString};

/// The command line.
///
/// Errors: it is wrong, with what to do about it; or asks for help.
pub fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = match matches(args) {
        Ok(matches) => matches,
        Err(error) => match respelt(args).filter(|_| error.use_stderr() || names_hub(args)) {
            Some(again) => {
                matches(&again).map_err(|error| as_typed(advised(error, &again), args))?
            }
            None => return Err(advised(error, args)),
        },
    };
    note_layers(&matches);
    Cli::from_arg_matches(&matches)
}

fn matches(args: &[OsString]) -> Result<ArgMatches, clap::Error> {
    command().try_get_matches_from(args)
}

/// The definition, in which of an option that is given twice the last one counts, and `_` may stand for `-` in names.
pub fn command() -> Command {
    liberal(Cli::command())
}

fn liberal(command: Command) -> Command {
    command.mut_args(one_or_last).mut_subcommands(liberal)
}

fn one_or_last(arg: Arg) -> Arg {
    let id = arg.get_id().clone();
    let names = arg.get_long().into_iter().map(str::to_owned);
    let names = names.chain(
        arg.get_all_aliases()
            .into_iter()
            .flatten()
            .map(str::to_owned),
    );
    let names = names
        .filter(|n| n.contains('-'))
        .map(|n| n.replace('-', "_"));
    let names: Vec<String> = names.collect();
    let arg = arg.aliases(names);
    let replaces = matches!(arg.get_action(), ArgAction::Set | ArgAction::SetTrue);
    match replaces && !arg.is_positional() {
        true => arg.overrides_with(id),
        false => arg,
    }
}

/// Options of several letters behind one hyphen, their value behind it or behind `=`.
const SHORT: [(&str, &str); 2] = [("-ngl", "--n-gpu-layers"), ("-sys", "--system")];
/// Options that name the model, which stands alone here.
const MODEL: [&str; 2] = ["-m", "--model"];
/// Options that name the model on the hub, and a file of it.
const HUB: [&str; 3] = ["-hf", "-hfr", "--hf-repo"];
const HUB_FILE: [&str; 2] = ["-hff", "--hf-file"];

/// The name of an option, and the value that is with it.
fn parts(arg: &OsStr) -> (&OsStr, Option<&str>) {
    match arg.to_str().and_then(|a| a.split_once('=')) {
        Some((name, value)) => (OsStr::new(name), Some(value)),
        None => (arg, None),
    }
}

/// Whether the model is named on the hub; of `-hf` the parser takes the first letter for a cry for help.
fn names_hub(args: &[OsString]) -> bool {
    let options = args.iter().take_while(|a| *a != "--");
    let mut names = options.map(|a| parts(a).0);
    names.any(|name| HUB.iter().any(|h| name == *h))
}

/// The error, in which an option is called as it was typed.
fn as_typed(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let typed = |short: &str| args.iter().any(|a| parts(a).0 == short);
    let same =
        |(short, long): &&(&str, &str)| found.split(' ').next() == Some(long) && typed(short);
    if let Some((short, _)) = SHORT.iter().find(same) {
        let name = ContextValue::String((*short).into());
        error.insert(ContextKind::InvalidArg, name);
    }
    error
}

/// A command line that is wrong as it stands, with others' spellings replaced; `None` if it has none.
fn respelt(args: &[OsString]) -> Option<Vec<OsString>> {
    let mut out = Vec::with_capacity(args.len());
    let (mut model, mut file, mut changed): (Option<OsString>, Option<OsString>, _) =
        (None, None, false);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            out.push(arg.clone());
            out.extend(rest.by_ref().cloned());
            break;
        }
        let (name, value) = parts(arg);
        if MODEL.iter().any(|m| name == *m) {
            let value = value.map(OsString::from);
            model = Some(value.or_else(|| rest.next().cloned())?);
        } else if HUB.iter().any(|h| name == *h) {
            let value = value.map(OsString::from);
            let value = value.or_else(|| rest.next().cloned())?;
            let stated = value.to_str().is_some_and(carat_hub::Reference::is_stated);
            let mut name = OsString::from(if stated { "" } else { "hf:" });
            name.push(value);
            model = Some(name);
        } else if HUB_FILE.iter().any(|h| name == *h) {
            let value = value.map(OsString::from);
            file = Some(value.or_else(|| rest.next().cloned())?);
        } else if let Some((_, long)) = SHORT.iter().find(|s| name == s.0) {
            let value = value.map(|v| format!("={v}")).unwrap_or_default();
            out.push(format!("{long}{value}").into());
            changed = true;
        } else {
            out.push(arg.clone());
        }
    }
    if let Some(mut model) = model {
        if let Some(file) = file {
            model.push(":");
            model.push(file);
        }
        // Behind the command's name.
        out.insert(out.len().min(2), model);
        changed = true;
    }
    changed.then_some(out)
}

/// The error with what to do about it.
fn advised(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    // Of `-fa` the parser takes `a` for the value of `-f`, and `-hf` asks it for help.
    let texts = args.iter().skip(1).filter_map(|a| a.to_str());
    let mut letters = texts.filter(|a| a.len() > 2 && !a.starts_with("--"));
    if let Some((name, tip)) = letters.find_map(|a| Some((a, tip_for(a)?)))
        && (error.use_stderr() || name.starts_with("-h"))
    {
        let text = format!("unexpected argument '{name}' found\n\n  tip: {tip}");
        return command().error(ErrorKind::UnknownArgument, text);
    }
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let on = args.get(1).and_then(|c| c.to_str()).unwrap_or_default();
    let tip: Option<String> = match error.kind() {
        ErrorKind::UnknownArgument => of(ContextKind::InvalidArg).and_then(|found| {
            if !found.starts_with('-') {
                return match on {
                    "run" => Some("a prompt of several words goes into quotes: carat run MODEL 'It was a dark night'".into()),
                    "chat" => Some("messages are typed, or come from standard input: echo Hello | carat chat MODEL".into()),
                    _ => None,
                };
            }
            tip_for(&found).map(Into::into)
        }),
        ErrorKind::InvalidSubcommand => of(ContextKind::InvalidSubcommand).and_then(|found| {
            let known = COMMANDS.iter().find(|c| c.0.contains(&&*found));
            match known {
                Some((_, give)) => Some((*give).to_owned()),
                None if std::path::Path::new(&found).exists() => {
                    Some(format!("name the command first: carat chat {found}, or carat run {found} PROMPT"))
                }
                None => None,
            }
        }),
        ErrorKind::MissingRequiredArgument if on == "run" && args.len() > 2 => {
            Some("carat chat MODEL chats with a model; carat run MODEL PROMPT continues a prompt".into())
        }
        _ => None,
    };
    // How to give the option as a value is seldom what is wanted.
    error.remove(ContextKind::Suggested);
    if let Some(tip) = tip {
        // Nor a name that only looks alike.
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
        let tips = vec![StyledStr::from(tip)];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// Layers on a GPU are counted in llama.cpp alone.
fn note_layers(matches: &ArgMatches) {
    let Some((_, of)) = matches.subcommand() else {
        return;
    };
    if !matches!(of.try_get_one::<String>("n_gpu_layers"), Ok(Some(_))) {
        return;
    }
    term::note(
        "note: -ngl changes nothing: a model runs whole on one device, which --device auto, cpu or gpu decides",
    );
}

/// Whether a command line asks for JSON, also one that cannot be parsed.
pub fn asks_for_json(args: &[OsString]) -> Option<crate::failure::Form> {
    use crate::failure::Form;
    let options = || args.iter().take_while(|a| *a != "--");
    let has = |name: &str| options().any(|a| a == OsStr::new(name));
    let chat = args.get(1).is_some_and(|a| a == "chat");
    match (has("--json"), has("--stream-json") || has("--stream_json")) {
        (_, true) => Some(Form::Events),
        (true, _) if chat => Some(Form::Events),
        (true, _) => Some(Form::Object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, RunArgs};
    use crate::values::{Length, Seed};

    fn line(text: &str) -> Vec<OsString> {
        std::iter::once("carat")
            .chain(text.split(' '))
            .map(OsString::from)
            .collect()
    }

    fn run(text: &str) -> RunArgs {
        match parse(&line(text)).unwrap().command {
            args::Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn definitions_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn others_spellings_are_understood() {
        let args =
            run("run m.gguf hi -c 100 -t 2 -n 3 --temperature 0.5 --top_k 7 -s -1 --n_predict 9");
        assert_eq!(
            (args.text.as_deref(), args.ctx, args.place.threads),
            (Some("hi"), Some(100), Some(2))
        );
        assert_eq!(
            (args.sampling.temp, args.sampling.top_k),
            (Some(0.5), Some(7))
        );
        assert_eq!(
            (args.sampling.seed, args.length),
            (Some(Seed::Random), Length::Tokens(9)),
            "the last one counts"
        );
        let args = run("run -m m.gguf -p hi -ngl 99 --ctx-size 5 --ctx 6 --json --json");
        assert_eq!(
            (args.model.to_str(), args.prompt.as_deref()),
            (Some("m.gguf"), Some("hi"))
        );
        assert_eq!((args.ctx, args.json), (Some(6), true));
        for text in [
            "run --model=m.gguf -p hi -ngl=99",
            "run -m=m.gguf -ngl=99 hi",
        ] {
            let args = run(text);
            assert_eq!(args.model.to_str(), Some("m.gguf"), "{text}");
            assert_eq!(args.place.n_gpu_layers.as_deref(), Some("99"), "{text}");
        }
        for (text, model) in [
            ("run -hf a/b:Q4_0 -p hi", "hf:a/b:Q4_0"),
            ("run --hf-repo=a/b --hf-file c.gguf hi", "hf:a/b:c.gguf"),
            ("run -hfr hf://a/b hi", "hf://a/b"),
        ] {
            assert_eq!(run(text).model.to_str(), Some(model), "{text}");
        }
        // llama.cpp's own defaults.
        let args = run("run m x -t -1 -c 0 --top-k -1 --repeat-last-n -1");
        assert_eq!((args.place.threads, args.ctx), (None, None));
        let sampling = args.sampling;
        assert_eq!(
            (sampling.top_k, sampling.repeat_last_n),
            (Some(0), u32::MAX)
        );
        let sampling =
            run("run m x --presence_penalty -0.5 --top-n-sigma -1 --typical-p 0.9").sampling;
        assert_eq!(
            (
                sampling.presence_penalty,
                sampling.top_nsigma,
                sampling.typical
            ),
            (-0.5, 0.0, 0.9)
        );
        let args = run("run m --stop a --stop b x");
        assert_eq!(
            args.sampling.stop,
            ["a", "b"],
            "what may be given several times adds up"
        );
        // What is right as it stands is not respelt.
        assert_eq!(run("run m -p -ngl").prompt.as_deref(), Some("-ngl"));
        assert_eq!(run("run m -p --top_k").prompt.as_deref(), Some("--top_k"));
        assert_eq!(run("run m -- -ngl").text.as_deref(), Some("-ngl"));
        assert_eq!(run("run m -").text.as_deref(), Some("-"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (text, named, tip) in [
            ("run m --verbose", "'--verbose'", "CARAT_LOG"),
            ("run m -p a -v", "'-v'", "CARAT_LOG"),
            (
                "run m -p a --max-token 3",
                "'--max-token'",
                "'--max-tokens'",
            ),
            ("run m -p a -fa", "'-fa'", "leave it out"),
            ("run -hf", "'-hf'", "hf:OWNER/NAME"),
            ("run m -p a --lora-scaled x 1", "'--lora-scaled'", "FILE:S"),
            ("run m It was dark", "'was'", "quotes"),
            ("chat m Hello", "'Hello'", "standard input"),
            ("chat m -p Hello", "'-p'", "--system"),
            ("run m a --samplers top_k", "'--samplers'", "fixed"),
            ("run m", "PROMPT", "carat chat MODEL"),
            ("quantize m", "'quantize'", "carat convert"),
            ("download m", "'download'", "carat pull"),
            ("inspct m", "'inspct'", "'inspect'"),
            ("run m x --batch_size 4", "'--batch_size'", "leave it out"),
            ("run m x --sampler_seq=k", "'--sampler_seq'", "fixed"),
            ("run m x -np 1", "'-np'", "leave it out"),
            ("run m x -tb 2", "'-tb'", "-t N"),
            ("run m x -st", "'-st'", "--messages"),
            ("run m x --single-turn", "'--single-turn'", "--messages"),
            ("run m x -sys hi", "'-sys'", "carat chat MODEL --system"),
            ("run m -p x -sys=hi", "'-sys'", "carat chat MODEL --system"),
            ("run m x --no-warmup", "'--no-warmup'", "leave it out"),
            ("run m x --log-disable", "'--log-disable'", "leave it out"),
            (
                "run m x --chat-template a",
                "'--chat-template'",
                "--template",
            ),
            (
                "run m x --rope-freq-base 1",
                "'--rope-freq-base'",
                "leave it out",
            ),
            ("run m x --override-kv a", "'--override-kv'", "leave it out"),
            ("run m x -j {}", "'-j'", "--json-schema"),
            ("run m x --format json", "'--format'", "--json-schema"),
            ("run m x --think", "'--think'", "enable_thinking"),
            ("convert m --outfile o", "'--outfile'", "-o OUT.gguf"),
            ("convert m --outtype q4_0", "'--outtype'", "--bits"),
            ("run m x -t -2", "--threads", "-1 for all cores"),
            ("run m x -c -1", "--ctx", "0 for the default"),
            ("run m x --top-k -2", "--top-k", "-1 for all"),
            (
                "run m x --repeat-last-n -2",
                "--repeat-last-n",
                "-1 for the whole context",
            ),
        ] {
            let error = parse(&line(text)).unwrap_err();
            let shown = error.to_string();
            assert!(error.use_stderr(), "{text}");
            assert!(
                shown.contains(named) && shown.contains(tip),
                "{text}: {shown}"
            );
        }
        let help = parse(&line("run --help")).unwrap_err();
        assert!(!help.use_stderr());
    }

    #[test]
    fn json_is_asked_for_by_lines_that_are_wrong_too() {
        use crate::failure::Form;
        let form = |text| asks_for_json(&line(text));
        assert_eq!(form("run m --json --foo"), Some(Form::Object));
        assert_eq!(form("run m --stream-json x"), Some(Form::Events));
        assert_eq!(form("chat m --json"), Some(Form::Events));
        assert_eq!(form("run m -- --json"), None);
        assert_eq!(form("run m x"), None);
    }
}
