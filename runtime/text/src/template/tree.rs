//! A parsed template. Names and text are parts of the source.

use super::value::Value;

/// An expression and the line where it begins.
pub(super) struct Expr<'s> {
    pub(super) line: usize,
    pub(super) node: Box<Node<'s>>,
}

/// What an expression is.
pub(super) enum Node<'s> {
    Name(&'s str),
    Const(Value),
    Not(Expr<'s>),
    Negative(Expr<'s>),
    Positive(Expr<'s>),
    And(Expr<'s>, Expr<'s>),
    Or(Expr<'s>, Expr<'s>),
    /// One of `+ - * / % ^ ~` and `d`, the division that rounds down.
    Binary(char, Expr<'s>, Expr<'s>),
    Compare(Expr<'s>, Vec<(Comparison, Expr<'s>)>),
    If {
        test: Expr<'s>,
        then: Expr<'s>,
        otherwise: Option<Expr<'s>>,
    },
    Filter {
        name: &'s str,
        /// None where a block's text is filtered.
        value: Option<Expr<'s>>,
        args: Vec<Arg<'s>>,
    },
    Test {
        name: &'s str,
        value: Expr<'s>,
        args: Vec<Arg<'s>>,
    },
    Attribute(Expr<'s>, &'s str),
    Item(Expr<'s>, Expr<'s>),
    Slice(Expr<'s>, [Option<Expr<'s>>; 3]),
    Call(Expr<'s>, Vec<Arg<'s>>),
    List(Vec<Expr<'s>>),
    Tuple(Vec<Expr<'s>>),
    Dict(Vec<(Expr<'s>, Expr<'s>)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// An argument of a call.
pub(super) enum Arg<'s> {
    Positional(Expr<'s>),
    Named(&'s str, Expr<'s>),
    /// `*x`
    List(Expr<'s>),
    /// `**x`
    Dict(Expr<'s>),
}

/// What a value is assigned to.
pub(super) enum Target<'s> {
    Name(&'s str),
    /// An attribute of a namespace.
    Attribute(&'s str, &'s str),
    Tuple(Vec<Target<'s>>),
}

/// A statement and the line where it begins.
pub(super) struct Stmt<'s> {
    pub(super) line: usize,
    pub(super) node: StmtNode<'s>,
}

pub(super) type Body<'s> = Vec<Stmt<'s>>;

/// What a statement is.
pub(super) enum StmtNode<'s> {
    Data(&'s str),
    Print(Vec<Expr<'s>>),
    If {
        branches: Vec<(Expr<'s>, Body<'s>)>,
        otherwise: Body<'s>,
    },
    For(Box<For<'s>>),
    Set(Target<'s>, Expr<'s>),
    SetBlock {
        target: Target<'s>,
        filter: Option<Expr<'s>>,
        body: Body<'s>,
    },
    Filter {
        filter: Expr<'s>,
        body: Body<'s>,
    },
    With {
        pairs: Vec<(Target<'s>, Expr<'s>)>,
        body: Body<'s>,
    },
    Macro(Macro<'s>),
    /// A call with its block, which is the macro `caller`.
    Call {
        callee: Expr<'s>,
        args: Vec<Arg<'s>>,
        block: Macro<'s>,
    },
    /// A body whose names are its own, as that of `{% generation %}`.
    Scope(Body<'s>),
    /// A named block: it sees the template's names, with `scoped` also those around it.
    Block {
        scoped: bool,
        body: Body<'s>,
    },
    Break,
    Continue,
}

pub(super) struct For<'s> {
    pub(super) target: Target<'s>,
    pub(super) over: Expr<'s>,
    pub(super) filter: Option<Expr<'s>>,
    pub(super) recursive: bool,
    pub(super) body: Body<'s>,
    pub(super) otherwise: Body<'s>,
}

pub(super) struct Macro<'s> {
    pub(super) name: &'s str,
    pub(super) args: Vec<&'s str>,
    /// Of the last arguments.
    pub(super) defaults: Vec<Expr<'s>>,
    pub(super) body: Body<'s>,
    /// Which of the special names its body reads; what it does not read it does not take.
    pub(super) reads: Reads,
}

/// Special names of a macro.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reads {
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
    pub(super) caller: bool,
}
