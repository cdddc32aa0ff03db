//! The description of the API, made of the table of routes, the table of errors and the tasks of the model: OpenAPI 3.1.

use crate::assets;
use crate::error::{Code, ErrorBody};
use crate::loaded::Loaded;
use crate::route::{ALWAYS, Reply, Route, own_failures};
use crate::schemas::Schemas;
use serde_json::{Map, Value, json};

/// `/openapi.json`
pub fn document(loaded: &Loaded, routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let error = schemas.of::<ErrorBody>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(route.method.to_owned(), operation(route, loaded, &mut schemas, &json!(error)));
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
        "servers": [{ "url": "/", "description": "Where this description came from." }],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "The API key, if the server has one." },
            },
        },
        "security": [{}, { "key": [] }],
    })
}

fn operation(route: &Route, loaded: &Loaded, schemas: &mut Schemas, error: &Value) -> Value {
    let mut responses: Map<String, Value> = Map::new();
    let content = match route.response {
        Reply::Json(form) => json!({ "application/json": { "schema": form(loaded, schemas) } }),
        Reply::Text(kind) => {
            // Assets are of several kinds.
            let of_assets = || assets::names().map(|(_, kind)| kind.split(';').next().unwrap_or(kind)).collect();
            let kinds: Vec<&str> = if route.path.starts_with("/assets") { of_assets() } else { vec![kind] };
            let text = |kind: &str| (kind.to_owned(), json!({ "schema": { "type": "string" } }));
            kinds.into_iter().map(text).collect::<Map<_, _>>().into()
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
        let mut response = json!({ "description": about, "content": { "application/json": { "schema": error } } });
        if code == Code::Overloaded {
            let about = "Seconds after which another try may do.";
            response["headers"] =
                json!({ "Retry-After": { "description": about, "schema": { "type": "integer", "minimum": 1 } } });
        }
        responses.insert(status, response);
    }
    let names = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let parameters: Vec<Value> = names
        .map(|name| {
            let values: Vec<String> = match name {
                "task" => loaded.model().tasks.iter().map(|task| task.name.clone()).collect(),
                "version" => vec!["1".into()],
                _ => assets::names().map(|(name, _)| name.to_owned()).collect(),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "enum": values } })
        })
        .collect();
    let mut operation = json!({ "operationId": route.name, "summary": route.about });
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(form) = route.request {
        let content = json!({ "application/json": { "schema": form(loaded, schemas) } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation["responses"] = Value::Object(responses);
    operation
}
