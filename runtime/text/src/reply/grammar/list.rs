//! Members in their order, some of which may be missing.

use super::lark::{Lark, literal};

/// The rule of members that stand in this order between separators; each with whether it has to be there.
pub(super) fn members(lark: &mut Lark<'_>, members: &[(String, bool)], separator: &str) -> String {
    let separator = literal(separator);
    // What follows where nothing was there yet, and where something was.
    let (mut first, mut later) = (String::from("\"\""), String::from("\"\""));
    for (member, required) in members.iter().rev() {
        let (mut begins, mut goes_on) = (
            format!("{member} {later}"),
            format!("{separator} {member} {later}"),
        );
        if !required {
            begins += &format!(" | {first}");
            goes_on += &format!(" | {later}");
        }
        first = lark.rule("first", &begins);
        later = lark.rule("later", &goes_on);
    }
    first
}
