//! `/docs`: the description of the API as a page, with a table of the fields of every body, made of the same schemas.

use crate::address::{canonical, split_port};
use crate::error::{CODES, Code, Row};
use crate::loaded::Loaded;
use crate::openapi::document;
use crate::route::{ALWAYS, Route, own_failures};
use crate::schemas::PLACE;
use polyhead::ask::{example, fields_of};
use polyhead::model::NamedTask;
use polyhead::report::html::escape;
use serde_json::{Map, Value, json};

/// How deep fields are shown; no body of ours is that deep.
const DEPTH: usize = 6;

/// The page, for someone who reached the server by this name; `keyed`, if it wants a key.
pub fn page(loaded: &Loaded, routes: &[Route], host: Option<&str>, keyed: bool) -> String {
    let described = document(loaded, routes);
    let mut sections = String::new();
    for route in routes {
        let (method, path, about) = (route.method.to_uppercase(), escape(route.path), escape(route.about));
        sections += &format!("<section><h2><code>{method} {path}</code></h2><p>{about}.</p>");
        let operation = &described["paths"][route.path][route.method];
        for (title, content) in
            [("Body", &operation["requestBody"]["content"]), ("Answer", &operation["responses"]["200"]["content"])]
        {
            let schema = &content["application/json"]["schema"];
            if schema.is_object() {
                let open = if title == "Body" { " open" } else { "" };
                let tables = Tables { described: &described }.of(schema);
                sections += &format!("<details{open}><summary>{title}</summary>{tables}</details>");
            }
        }
        let own = own_failures(route);
        if !own.is_empty() {
            sections += &format!("<p class=\"note\">Failures of its own: {}.</p>", listed(&own));
        }
        sections += "</section>";
    }
    let row = |row: &Row| {
        let (status, name, about) = (row.status.as_u16(), row.name, escape(row.about));
        format!("<tr><td>{status}</td><td><code>{name}</code></td><td>{about}</td></tr>")
    };
    let codes: String = CODES.iter().map(row).collect();
    let (examples, always) = (escape(&examples(loaded, host, keyed)), listed(ALWAYS));
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

fn listed(codes: &[Code]) -> String {
    let code = |code: &Code| format!("{} {}", code.row().status.as_u16(), code.row().name);
    escape(&codes.iter().map(code).collect::<Vec<_>>().join(", "))
}

/// The tables of bodies.
struct Tables<'a> {
    described: &'a Value,
}

/// A row of a table, as HTML.
struct Field {
    name: String,
    kind: String,
    required: &'static str,
    default: String,
    meaning: String,
}

impl<'a> Tables<'a> {
    /// The tables of a body: one for each form that it may have.
    fn of(&self, schema: &'a Value) -> String {
        let (title, schema) = self.resolved(schema);
        let about = schema["description"].as_str().map_or(String::new(), |about| format!("<p>{}</p>", marked(about)));
        let forms: Vec<&Value> = schema["anyOf"].as_array().into_iter().flatten().collect();
        if !forms.is_empty() && !schema["properties"].is_object() {
            return about + &forms.into_iter().map(|form| self.of(form)).collect::<String>();
        }
        let mut rows = Vec::new();
        match schema["items"].as_object() {
            Some(_) => self.rows(&schema["items"], "[].", DEPTH, &mut rows),
            None => self.rows(schema, "", DEPTH, &mut rows),
        }
        let title = title.map_or(String::new(), |title| format!("<p><b>{}</b></p>", escape(title)));
        if rows.is_empty() {
            let kind = escape(&self.kind(schema));
            return format!("{title}{about}<p class=\"note\">{kind}</p>");
        }
        let row = |field: &Field| {
            let Field { name, kind, required, default, meaning } = field;
            let name = escape(name);
            format!(
                "<tr><td><code>{name}</code></td><td>{}</td><td>{required}</td><td>{}</td><td>{}</td></tr>",
                escape(kind),
                escape(default),
                marked(meaning)
            )
        };
        let rows: String = rows.iter().map(row).collect();
        format!(
            "{title}{about}<table><thead><tr><th>field</th><th>type</th><th>required</th><th>default</th><th>meaning</th>\
             </tr></thead><tbody>{rows}</tbody></table>"
        )
    }

    /// A schema behind its reference, with the name of the last.
    fn resolved(&self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        let (mut name, mut schema) = (None, schema);
        for _ in 0..DEPTH {
            let Some(next) = schema["$ref"].as_str().and_then(|place| place.strip_prefix(PLACE)) else { break };
            (name, schema) = (Some(next), &self.described["components"]["schemas"][next]);
        }
        (name, schema)
    }

    /// The forms that a value may have, without `null`.
    fn forms(&self, schema: &'a Value) -> Vec<&'a Value> {
        let (_, schema) = self.resolved(schema);
        let some = ["anyOf", "oneOf"].into_iter().find_map(|name| schema[name].as_array());
        match some {
            // Words with a meaning each are one form.
            Some(forms) if forms.iter().any(|form| form["const"].is_null()) => {
                forms.iter().filter(|form| form["type"] != "null").flat_map(|form| self.forms(form)).collect()
            }
            _ => vec![schema],
        }
    }

    /// The fields of an object, and below each those of what it holds.
    fn rows(&self, schema: &'a Value, before: &str, depth: usize, rows: &mut Vec<Field>) {
        for form in self.forms(schema) {
            let required: Vec<&str> =
                form["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for (name, field) in form["properties"].as_object().into_iter().flatten() {
                let (_, whole) = self.resolved(field);
                let about = field["description"].as_str().or(whole["description"].as_str()).unwrap_or_default();
                let default = field.get("default").filter(|value| !value.is_null());
                let name = format!("{before}{name}");
                if rows.iter().any(|known| known.name == name) {
                    continue;
                }
                rows.push(Field {
                    kind: self.kind(field),
                    required: if required.contains(&name.rsplit('.').next().unwrap_or(&name)) { "yes" } else { "no" },
                    default: default.map_or(String::new(), |value| value.to_string()),
                    meaning: format!("{about}{}", self.meanings(field)),
                    name: name.clone(),
                });
                if depth == 0 {
                    continue;
                }
                for form in self.forms(field) {
                    if form["items"].is_object() {
                        self.rows(&form["items"], &format!("{name}[]."), depth - 1, rows);
                    } else {
                        self.rows(form, &format!("{name}."), depth - 1, rows);
                    }
                }
            }
        }
    }

    /// What a value is, in words.
    fn kind(&self, schema: &'a Value) -> String {
        let one = |form: &'a Value| -> String {
            let words =
                |values: Vec<&Value>| values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
            if let Some(values) = form["enum"].as_array() {
                return words(values.iter().filter(|value| !value.is_null()).collect());
            }
            if let Some(values) = form["oneOf"].as_array() {
                return words(values.iter().map(|value| &value["const"]).collect());
            }
            let types = match &form["type"] {
                Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
                kind => kind.as_str().into_iter().collect::<Vec<_>>(),
            };
            if types == ["array"] {
                return format!("array of {}", self.kind(&form["items"]));
            }
            types
                .into_iter()
                .map(|kind| if kind == "boolean" { "true or false" } else { kind })
                .collect::<Vec<_>>()
                .join(" or ")
        };
        let mut kinds: Vec<String> = Vec::new();
        for kind in self.forms(schema).into_iter().map(one) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let kinds = kinds.join(" or ");
        if kinds.is_empty() { "any".into() } else { kinds }
    }

    /// Bounds, and what each word means.
    fn meanings(&self, field: &'a Value) -> String {
        let mut said = String::new();
        for form in self.forms(field) {
            let bound = |name: &str| form[name].as_f64().or(field[name].as_f64());
            match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) => said += &format!(" From {least} to {most}."),
                (Some(least), None) if least > 0.0 => said += &format!(" At least {least}."),
                _ => {}
            }
            for word in form["oneOf"].as_array().into_iter().flatten() {
                if let (Some(word), Some(about)) = (word["const"].as_str(), word["description"].as_str()) {
                    said += &format!(" `{word}`: {about}");
                }
            }
        }
        said
    }
}

/// A text with its `code` as HTML.
fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| {
        let part = escape(part);
        if at % 2 == 1 { format!("<code>{part}</code>") } else { part }
    });
    parts.collect()
}

/// What to begin with: a command for each way of asking this model, at the name by which the page itself was reached.
fn examples(loaded: &Loaded, host: Option<&str>, keyed: bool) -> String {
    let named = |host: &&str| {
        let (name, port) = split_port(host);
        canonical(name).is_some() && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let host = host.filter(named).unwrap_or("localhost:8080");
    let key = if keyed { " -H \"authorization: Bearer $POLYHEAD_API_KEY\"" } else { "" };
    let call = |path: &str, body: Value| {
        let body = body.to_string().replace('\'', "'\\''");
        // A shell would take brackets for a pattern.
        let address = format!("http://{host}{path}");
        let address = if address.contains('[') { format!("'{address}'") } else { address };
        format!("curl {address} -H 'content-type: application/json'{key} \\\n    -d '{body}'")
    };
    let tasks = &loaded.model().tasks;
    let of_task =
        |named: &NamedTask| Some(call(&format!("/tasks/{}", named.name), json!({ "inputs": example(named)? })));
    let mut calls: Vec<String> = tasks.iter().filter_map(of_task).collect();
    let known = fields_of(tasks);
    let stands_in = |name: &str| known.iter().any(|field| field.name == name && field.needed > 0);
    let needed = known.iter().filter(|field| field.needed > 0 && !field.default.is_some_and(stands_in));
    let texts: Map<String, Value> = needed.map(|field| (field.name.to_owned(), json!(field.example))).collect();
    calls.push(call("/analyze", Value::Object(texts)));
    calls.join("\n\n")
}
