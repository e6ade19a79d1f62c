//! What can be said of how a model writes calls.

/// How a model writes calls.
#[derive(Debug)]
pub(super) struct Format {
    pub(super) name: &'static str,
    /// A template of this format has all of the texts of one of these lists.
    pub(super) signs: &'static [&'static [&'static str]],
    /// Begins a block of calls. Without one, calls begin the content.
    pub(super) open: &'static str,
    /// A text that begins a call by itself where a model forgets `open`; the tool's name must be known there.
    pub(super) also: Option<&'static str>,
    /// Around each call of a block.
    pub(super) item: (&'static str, &'static str),
    /// Ends a block.
    pub(super) close: &'static str,
    /// White space as models are trained to write it: behind `open` and `item.0`, and in front of their ends.
    #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
    pub(super) pad: &'static str,
    /// Between two calls, or two blocks where each has one.
    #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
    pub(super) between: &'static str,
    /// A block has one call.
    #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
    pub(super) single: bool,
    /// `open` ends reasoning.
    pub(super) ends_reasoning: bool,
    pub(super) writing: Writing,
}

/// How one call is written.
#[derive(Debug)]
pub(super) enum Writing {
    /// An object with the name and the arguments, perhaps in a list.
    Object {
        name: &'static str,
        /// The first is what models are trained to write.
        arguments: &'static [&'static str],
        #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
        list: bool,
    },
    /// The name, then the arguments as an object.
    Named {
        before: &'static str,
        /// The id of the call: what is in front of it, and what it is as a regular expression.
        id: Option<(&'static str, &'static str)>,
        between: &'static str,
        after: &'static str,
    },
    /// The name and the arguments in words that are nearly JSON.
    Words(&'static Words),
    /// Parameters between tags.
    Tags(&'static Tags),
    /// Messages with headers.
    Harmony,
}

/// Arguments in words that are nearly JSON.
#[derive(Debug)]
pub(super) struct Words {
    /// Around all calls.
    pub(super) list: Option<(char, char)>,
    pub(super) before: &'static str,
    pub(super) open: char,
    pub(super) close: char,
    /// Between the name of an argument and its value.
    pub(super) assign: char,
    pub(super) quotes: &'static [&'static str],
    /// Whether texts have escapes, and quotes that end nothing.
    pub(super) escapes: bool,
}

/// Parameters between tags.
#[derive(Debug)]
pub(super) struct Tags {
    /// In front of and behind the name of the function.
    pub(super) name: (&'static str, &'static str),
    pub(super) close: &'static str,
    /// In front of and behind the name of a parameter.
    pub(super) key: (&'static str, &'static str),
    /// In front of a value, where there is more than the end of the key.
    pub(super) value: &'static str,
    pub(super) end: &'static str,
    /// Line breaks directly within the tags of a value belong to the tags.
    pub(super) lines: bool,
}
