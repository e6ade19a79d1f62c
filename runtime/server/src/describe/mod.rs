//! The description of the APIs (OpenAPI 3.1), made of the table of paths and of the types that are read and written.

pub mod forms;
mod told;

pub use told::Told;

use crate::refusal::{AnthropicError, OpenAiError};
use crate::routes::Route;
use std::collections::BTreeMap;
use told::Type;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, OpenApi, OpenApiBuilder,
    PathsBuilder, RefOr, Required, ResponseBuilder, Schema, schema,
};

const BEARER: &str = "bearer";
const KEY: &str = "key";
const JSON: &str = "application/json";
/// Statuses of errors.
const ERRORS: [(&str, &str); 2] = [
    (
        "4XX",
        "The request is wrong, has no key, names nothing that there is, is too large (413) or comes at a bad time (429).",
    ),
    (
        "5XX",
        "The server failed (500), cannot do this (501) or is about to end (503).",
    ),
];

/// Any JSON.
pub fn anything() -> RefOr<Schema> {
    let of = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    RefOr::T(of.build().into())
}

/// The description of what there is. `keys`: whether requests need one.
pub fn description(routes: &[Route], keys: bool) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut schemas = BTreeMap::new();
    for route in routes {
        for (i, path) in route.paths.iter().enumerate() {
            let operation = operation(route, path, i > 0, keys, &mut schemas);
            let item = PathItem::new(route.told.method(), operation);
            paths = paths.path(*path, item);
        }
    }
    let mut components = ComponentsBuilder::new()
        .security_scheme(
            BEARER,
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        )
        .security_scheme(
            KEY,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))),
        );
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    let info = InfoBuilder::new()
        .title("Carat")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Language models in integers. The APIs of OpenAI and Anthropic, and what llama.cpp's clients ask for. Fields that are \
             not described are ignored. Every answer has the hash of its logits: one model, prompt and seed give the same on every \
             machine.",
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn operation(
    route: &Route,
    path: &str,
    alias: bool,
    keys: bool,
    schemas: &mut BTreeMap<String, RefOr<Schema>>,
) -> OperationBuilder {
    let told = &route.told;
    let mut take = |of: &Type| {
        for (name, schema) in &of.all {
            schemas.insert(name.clone(), schema.clone());
        }
        of.schema.clone()
    };
    let name: String = path
        .trim_matches('/')
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let verb = told.verb();
    let mut operation = OperationBuilder::new()
        .tag(told.tag)
        .operation_id(Some(format!("{verb}_{name}")))
        .summary(Some(match alias {
            true => format!("As {}", route.paths[0]),
            false => told.summary.to_owned(),
        }));
    if let Some((_, rest)) = path.split_once('{') {
        let name = rest.trim_end_matches('}').trim_start_matches('*');
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(text()));
        operation = operation.parameter(parameter);
    }
    if let Some((name, values)) = told.query {
        let schema = ObjectBuilder::new()
            .schema_type(schema::Type::String)
            .enum_values(Some(values.iter().copied()));
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::True)
            .schema(Some(schema));
        operation = operation.parameter(parameter);
    }
    if let Some(body) = &told.body {
        let content = ContentBuilder::new().schema(Some(take(body))).build();
        let body = RequestBodyBuilder::new()
            .content(JSON, content)
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    let mut answer = ResponseBuilder::new().description(match told.events {
        Some(_) => {
            "The answer whole; with 'stream' as server-sent events, whose data is each of the schema that stands there."
        }
        None => "The answer.",
    });
    let content = ContentBuilder::new().schema(Some(match &told.answer {
        Some(of) => take(of),
        None => text(),
    }));
    answer = answer.content(told.mime, content.build());
    if let Some(of) = &told.events {
        let content = ContentBuilder::new().schema(Some(take(of)));
        answer = answer.content("text/event-stream", content.build());
        let header = HeaderBuilder::new().schema(Some(text())).description(Some(
            "The hashes of the logits of the choices, with commas between them; of an answer that is whole.",
        ));
        answer = answer.header("X-Carat-Logits-Hash", header.build());
    }
    // What can only fail has no answer.
    if !told.fails {
        operation = operation.response("200", answer);
    }
    let error = match path.starts_with("/v1/messages") {
        true => Type::of::<AnthropicError>(),
        false => Type::of::<OpenAiError>(),
    };
    for (status, text) in ERRORS {
        let content = ContentBuilder::new().schema(Some(take(&error))).build();
        let mut response = ResponseBuilder::new()
            .description(text)
            .content(JSON, content);
        if status == "4XX" {
            let whole = ObjectBuilder::new().schema_type(schema::Type::Integer);
            let header = HeaderBuilder::new()
                .schema(Some(whole))
                .description(Some("Seconds, of 429."));
            response = response.header("Retry-After", header.build());
        }
        operation = operation.response(status, response);
    }
    if keys && !route.open {
        let none: [&str; 0] = [];
        operation = operation
            .security(SecurityRequirement::new(BEARER, none))
            .security(SecurityRequirement::new(KEY, none));
    }
    operation
}

fn text() -> RefOr<Schema> {
    let of = ObjectBuilder::new().schema_type(schema::Type::String);
    RefOr::T(of.build().into())
}

#[cfg(test)]
mod tests;
