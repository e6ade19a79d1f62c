//! What APIs let clients wish of any model, as that it reasons: variables of the template, where it reads them.

use crate::hosted::Hosted;
use crate::tools::Talk;

/// Leaves out the variables that the model's template does not read: a model without a choice is asked all the same.
pub fn keep_read(hosted: &Hosted, talk: &mut Talk) {
    let template = hosted.prompter().template();
    let talk_of_none = Default::default();
    let source = template.and_then(|t| t.source(&talk_of_none).ok());
    let source = source.unwrap_or_default();
    talk.variables
        .retain(|(name, _)| source.contains(name.as_str()));
}
