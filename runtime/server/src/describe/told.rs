//! What is told of a path.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A type, and those that it refers to.
pub struct Type {
    pub schema: RefOr<Schema>,
    pub all: Vec<(String, RefOr<Schema>)>,
}

impl Type {
    pub fn of<T: ToSchema>() -> Self {
        let mut all = vec![(T::name().into_owned(), <T as PartialSchema>::schema())];
        T::schemas(&mut all);
        Self {
            schema: Ref::from_schema_name(T::name()).into(),
            all,
        }
    }
}

/// What is told of a path.
pub struct Told {
    pub tag: &'static str,
    pub summary: &'static str,
    posts: bool,
    pub body: Option<Type>,
    /// Nothing: a text.
    pub answer: Option<Type>,
    pub mime: &'static str,
    /// What the data of events is.
    pub events: Option<Type>,
    pub fails: bool,
    /// A parameter behind the path, and what it may be.
    pub query: Option<(&'static str, &'static [&'static str])>,
}

impl Told {
    /// Of a `GET` that gives a text.
    pub fn get(tag: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            summary,
            posts: false,
            body: None,
            answer: None,
            mime: "text/plain",
            events: None,
            fails: false,
            query: None,
        }
    }

    /// Of a `POST` of JSON.
    pub fn post<B: ToSchema>(tag: &'static str, summary: &'static str) -> Self {
        Self {
            posts: true,
            body: Some(Type::of::<B>()),
            ..Self::get(tag, summary)
        }
    }

    /// It gives JSON.
    pub fn gives<T: ToSchema>(mut self) -> Self {
        self.answer = Some(Type::of::<T>());
        self.mime = "application/json";
        self
    }

    /// It gives a text of that kind.
    pub fn mime(mut self, mime: &'static str) -> Self {
        self.mime = mime;
        self
    }

    /// It gives events where they are asked for.
    pub fn streams<T: ToSchema>(mut self) -> Self {
        self.events = Some(Type::of::<T>());
        self
    }

    /// It gives nothing but errors.
    pub fn fails(mut self) -> Self {
        self.fails = true;
        self
    }

    /// It has a parameter behind the path.
    pub fn query(mut self, name: &'static str, values: &'static [&'static str]) -> Self {
        self.query = Some((name, values));
        self
    }

    /// The method.
    pub fn method(&self) -> HttpMethod {
        match self.posts {
            true => HttpMethod::Post,
            false => HttpMethod::Get,
        }
    }

    /// The method as a word of names.
    pub fn verb(&self) -> &'static str {
        match self.posts {
            true => "post",
            false => "get",
        }
    }
}
