//! The description of the native API, made of the routes it has.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::admin::request::Method;
use crate::admin::v1::ROUTES;
use crate::admin::v1::Route;

/// The whole document, OpenAPI 3.1.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(format!("/v1{}", route.path)).or_insert_with(|| json!({}));
        path[method_name(route.method)] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "railpost", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "security": [{ "basic": [] }],
        "components": {
            "securitySchemes": { "basic": { "type": "http", "scheme": "basic" } },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["error", "reason"],
                    "properties": {
                        "error": { "type": "string" },
                        "reason": { "type": "string" },
                    },
                },
            },
        },
    })
}

/// As OpenAPI writes it.
pub fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Put => "put",
        Method::Post => "post",
        Method::Delete => "delete",
    }
}

fn operation(route: &Route) -> Value {
    let names = route.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
    let string = json!({ "type": "string" });
    let in_path = names
        .map(|it| json!({ "name": it, "in": "path", "required": true, "schema": string.clone() }));
    let in_query = route.query.iter().map(|(name, what)| {
        json!({ "name": name, "in": "query", "description": what, "schema": string.clone() })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let problem = json!({
        "description": "Refused, and why.",
        "content": {
            "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    });
    let mut operation = json!({
        "operationId": format!("{:?}", route.action),
        "summary": route.summary,
        "parameters": parameters,
        "responses": { "2XX": { "description": "Done." }, "4XX": problem },
    });
    if !route.body.is_empty() {
        let fields = route.body.iter().map(|(name, kind, what)| {
            ((*name).to_owned(), json!({ "type": kind, "description": what }))
        });
        let schema = json!({ "type": "object", "properties": fields.collect::<Map<_, _>>() });
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}
