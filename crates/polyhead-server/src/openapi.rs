//! The description of the API, made of the table of routes, the table of errors and the tasks of the model: OpenAPI 3.1,
//! and the same as a page.

use crate::error::{CODES, Code, ErrorBody};
use crate::loaded::Loaded;
use crate::routes::{ROUTES, Reply, Route};
use polyhead::report::html::escape;
use schemars::{JsonSchema, Schema, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

/// The schema of a type, whole: no reference leads out of it.
pub fn schema_of<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.into_generator().into_root_schema_for::<T>()
}

/// One of several forms; the form itself where there is one.
pub fn one_of(forms: impl Iterator<Item = Schema>) -> Schema {
    let mut forms: Vec<Schema> = forms.collect();
    forms.dedup();
    match forms.pop() {
        None => json_schema!({ "type": "object" }),
        Some(only) if forms.is_empty() => only,
        Some(last) => {
            forms.push(last);
            json_schema!({ "anyOf": forms })
        }
    }
}

/// Failures that any route may have.
const ALWAYS: &[Code] = &[Code::BadRequest, Code::Unauthorized, Code::Forbidden, Code::Internal, Code::Unavailable];

/// Failures that are a route's own.
fn own_failures(route: &Route) -> Vec<Code> {
    let missing = (route.path.contains('{') || route.path == "/report").then_some(Code::NotFound);
    let mut own: Vec<Code> = route.fails.iter().copied().chain(missing).collect();
    own.sort_by_key(|code| code.row().status);
    own
}

fn listed(codes: &[Code]) -> String {
    let code = |code: &Code| format!("{} {}", code.row().status.as_u16(), code.row().name);
    escape(&codes.iter().map(code).collect::<Vec<_>>().join(", "))
}

/// What to begin with, on the page.
const EXAMPLES: &str = r#"curl localhost:8080 -H 'content-type: application/json' \
    -d '{"inputs": "Ada Lovelace was born in London."}'

curl localhost:8080 -H 'content-type: application/json' \
    -d '{"inputs": {"question": "Where was she born?", "context": "Ada Lovelace was born in London."}}'

curl localhost:8080/analyze -H 'content-type: application/json' \
    -d '{"text": "Ada Lovelace was born in London.", "question": "Where was she born?"}'"#;

/// `/openapi.json`
pub fn document(loaded: &Loaded) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(route.method.to_owned(), operation(route, loaded));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "polyhead",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One shared encoder with many task heads, over HTTP.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": { "Error": schema_of::<ErrorBody>() },
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{}, { "key": [] }],
    })
}

fn operation(route: &Route, loaded: &Loaded) -> Value {
    let mut responses: Map<String, Value> = Map::new();
    let content = match route.response {
        Reply::Json(schema) => json!({ "application/json": { "schema": schema(loaded) } }),
        Reply::Text(kind) => {
            // Assets are of several kinds.
            let kinds: &[&str] = if route.path.starts_with("/assets") {
                &["text/javascript", "text/css", "image/svg+xml"]
            } else {
                &[kind]
            };
            kinds
                .iter()
                .map(|&kind| (kind.to_owned(), json!({ "schema": { "type": "string" } })))
                .collect::<Map<_, _>>()
                .into()
        }
    };
    responses.insert("200".into(), json!({ "description": route.about, "content": content }));
    for code in own_failures(route).into_iter().chain(ALWAYS.iter().copied()) {
        let row = code.row();
        let status = row.status.as_u16().to_string();
        let about = match responses.get(&status).and_then(|known| known["description"].as_str()) {
            Some(known) => format!("{known}; {}: {}", row.name, row.about),
            None => format!("{}: {}", row.name, row.about),
        };
        let mut response = json!({
            "description": about,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        });
        if code == Code::Overloaded {
            response["headers"] = json!({ "Retry-After": { "schema": { "type": "integer", "minimum": 1 } } });
        }
        responses.insert(status, response);
    }
    let names = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let parameters: Vec<Value> = names
        .map(|name| {
            let values: Vec<String> = match name {
                "task" => loaded.model().tasks.iter().map(|task| task.name.clone()).collect(),
                "version" => vec!["1".into()],
                _ => vec!["app.js".into(), "app.css".into(), "icon.svg".into()],
            };
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "enum": values } })
        })
        .collect();
    let id: String = route.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut operation = json!({ "operationId": format!("{}{id}", route.method), "summary": route.about });
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(request) = route.request {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": request(loaded) } } });
    }
    operation["responses"] = Value::Object(responses);
    operation
}

/// `/docs`: the same as a page.
pub fn page(loaded: &Loaded) -> String {
    let mut sections = String::new();
    for route in ROUTES {
        let (method, path, about) = (route.method.to_uppercase(), escape(route.path), escape(route.about));
        sections += &format!("<section><h2><code>{method} {path}</code></h2><p>{about}.</p>");
        let mut shown = |title: &str, schema: Schema| {
            let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
            sections += &format!("<details><summary>{title}</summary><pre>{}</pre></details>", escape(&text));
        };
        if let Some(request) = route.request {
            shown("Body", request(loaded));
        }
        if let Reply::Json(response) = route.response {
            shown("Answer", response(loaded));
        }
        let own = own_failures(route);
        if !own.is_empty() {
            sections += &format!("<p class=\"note\">Failures of its own: {}.</p>", listed(&own));
        }
        sections += "</section>";
    }
    let row = |row: &crate::error::Row| {
        format!(
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
            row.status.as_u16(),
            row.name,
            escape(row.about)
        )
    };
    let codes: String = CODES.iter().map(row).collect();
    let (examples, always) = (escape(EXAMPLES), listed(ALWAYS));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>polyhead: HTTP API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/assets/app.css\"></head><body class=\"docs\"><main>\
         <h1>HTTP API</h1><p>Bodies are JSON in UTF-8. Offsets count Unicode code points unless <code>offset_unit</code> says \
         otherwise. The same for programs: <a href=\"/openapi.json\">/openapi.json</a>. Try it: <a href=\"/\">/</a>.</p>\
         <pre>{examples}</pre>{sections}<section><h2>Failures</h2>\
         <p>Every failure has the body <code>{{\"error\", \"code\", \"hint\"}}</code>. Any address may have these: {always}.</p>\
         <table><thead><tr><th>status</th><th>code</th><th>when</th></tr></thead><tbody>{codes}</tbody></table></section>\
         </main></body></html>\n"
    )
}
