//! A conversation as a file.

use anyhow::{Result, anyhow};
use carat::internals::Talk;
use carat_text::template::Conversation;

/// A conversation that was saved.
///
/// Errors: see [`Talk::of_conversation`].
pub fn read(talk: Conversation) -> Result<Talk> {
    // It is no fault of the template.
    Talk::of_conversation(talk).map_err(|e| anyhow!("{e}"))
}

/// The file that `carat template --messages` reads too.
///
/// Errors: none that a text can cause.
pub fn to_json(talk: &Talk) -> Result<String> {
    Ok(serde_json::to_string_pretty(&talk.whole().to_value())? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat::internals::message;

    fn of(json: &str) -> Result<Talk> {
        read(Conversation::new(serde_json::from_str(json).unwrap())?)
    }

    #[test]
    fn files_read_back() {
        let mut c = Talk::new(Some("Be brief."));
        c.ask("Hi");
        c.exchanges[0].answer = Some(message("assistant", "Hello"));
        c.ask("Bye");
        c.exchanges[1].answer = Some(message("assistant", "Good \"bye\"\n"));
        let json = to_json(&c).unwrap();
        let again = of(&json).unwrap();
        assert_eq!(to_json(&again).unwrap(), json);
        assert_eq!((again.spoken(), again.system()), (4, Some("Be brief.")));
        let tools = r#"{"messages": [{"role": "user", "content": ["a"]}, {"role": "assistant", "tool_calls": []},
            {"role": "tool", "content": "b"}, {"role": "assistant", "content": "c", "thought": null}],
            "tools": [{"x": 1}], "date": "noon", "depth": 3}"#;
        let found = of(tools).unwrap();
        assert_eq!((found.exchanges.len(), found.spoken()), (1, 4));
        let plain = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(plain(&to_json(&found).unwrap()), plain(tools));
        for bad in [
            r#"[{"role":"assistant","content":"a"}]"#,
            r#"[{"role":"user","content":"a"}]"#,
            r#"[{"role":"tool","content":"a"}]"#,
            r#"{"messages":[],"add_generation_prompt":false}"#,
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
