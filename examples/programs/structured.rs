//! Answers in JSON that fits a schema: `structured MODEL [QUESTION] [SCHEMA]`.

use carat::{Chat, Error, Format, Model};

/// What every answer looks like, whatever the model knows.
const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "answer": {"type": "string", "maxLength": 40},
        "certain": {"type": "boolean"}
    },
    "required": ["answer", "certain"],
    "additionalProperties": false
}"#;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or("model.gguf".into());
    let question = args.next().unwrap_or("What is a carat?".into());
    let schema = args.next().unwrap_or(SCHEMA.into());

    let model = Model::open(path)?;
    // The schema decides what may come; the message tells the model of it.
    let mut chat = Chat::new(&model)?.system(&format!("Answer in JSON of this schema: {schema}"));
    let mut reply = chat.ask(&question).format(Format::JsonSchema(schema));
    for piece in &mut reply {
        print!("{}", piece?);
    }
    println!();
    if reply.is_complete() == Some(false) {
        eprintln!("[a limit cut the answer]");
    }
    Ok(())
}
