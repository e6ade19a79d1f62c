//! From a source to its parsed tree, whose depth is bounded first.

use super::{MAX_SOURCE, MAX_TOKENS, TemplateError};
use minijinja::machinery::{Span, Token, ast, parse, tokenize};
use minijinja::syntax::SyntaxConfig;

/// Most branches of one condition: each nests in the one before.
const MAX_BRANCHES: usize = 100;

/// Longest line in bytes: the lexer counts columns in 16 bits.
pub(super) const MAX_LINE: usize = 60_000;

fn syntax() -> SyntaxConfig {
    // No delimiter is set, so there is none that could be refused.
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .unwrap_or_default()
}

/// The source as it is parsed.
pub(super) fn prepare(source: &str) -> Result<String, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::TooLong {
            found: source.len(),
        });
    }
    if let Some(line) = source.lines().position(|l| l.len() > MAX_LINE) {
        return Err(TemplateError::LongLine { line: line + 1 });
    }
    let source = without_generation(source);
    bounded(&source)?;
    Ok(source)
}

/// Parses a prepared source.
pub(super) fn tree(source: &str) -> Result<ast::Stmt<'_>, TemplateError> {
    parse(source, "template", syntax()).map_err(|e| refused(&e))
}

fn refused(error: &minijinja::Error) -> TemplateError {
    TemplateError::Syntax {
        line: error.line().unwrap_or(0),
        detail: error.detail().unwrap_or("not understood").to_owned(),
    }
}

/// Checks that no tree of the source is deeper than the stack allows.
fn bounded(source: &str) -> Result<(), TemplateError> {
    let mut tokens = 0;
    let mut first = false;
    // Branches of each open condition.
    let mut branches: Vec<usize> = Vec::new();
    for token in tokenize(source, false, syntax()) {
        let (token, span): (Token, Span) = token.map_err(|e| refused(&e))?;
        let intricate = TemplateError::Intricate {
            line: span.start_line as usize,
        };
        match token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::BlockStart => {
                tokens = 0;
                first = matches!(token, Token::BlockStart);
                continue;
            }
            Token::Ident("if") if first => branches.push(0),
            Token::Ident("elif") if first => {
                if let Some(n) = branches.last_mut() {
                    *n += 1;
                    if *n > MAX_BRANCHES {
                        return Err(intricate);
                    }
                }
            }
            Token::Ident("endif") if first => {
                branches.pop();
            }
            _ => {}
        }
        first = false;
        tokens += 1;
        if tokens > MAX_TOKENS {
            return Err(intricate);
        }
    }
    Ok(())
}

/// `{% generation %}` marks what a training loss counts; a prompt takes its content as it is.
fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inner = &tag[..end];
        match inner.trim_matches(['-', '+']).trim() {
            "generation" => out.push_str(&inner.replace("generation", "if true")),
            "endgeneration" => out.push_str(&inner.replace("endgeneration", "endif")),
            _ => {
                rest = tag;
                continue;
            }
        }
        rest = &tag[end..];
    }
    out.push_str(rest);
    out
}
