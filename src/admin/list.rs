//! Lists: sorted, filtered, cut into pages, reduced to columns.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::pattern::Pattern;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;

const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 500;
const NAME_FILTER_BYTES: usize = 1024;

/// One object, reduced to the wanted columns.
pub fn single(item: Value, request: &Request) -> Outcome {
    Ok(Response::ok(columns(item, request)))
}

/// A list that has no pages.
pub fn whole(mut items: Vec<Value>, request: &Request) -> Outcome {
    sort(&mut items, request);
    Ok(Response::ok(items.into_iter().map(|it| row(it, request)).collect()))
}

/// A list that has pages when one is asked for.
///
/// COMPAT: without `page` the other words of paging mean nothing.
pub fn paged(mut items: Vec<Value>, request: &Request) -> Outcome {
    let Some(page) = request.query("page") else { return whole(items, request) };
    let size = request.query("page_size");
    let invalid = || Problem::Invalid {
        error: "invalid_pagination_parameters",
        reason: format!(
            "Invalid pagination parameters: page number {page}, page size {}",
            size.unwrap_or("100")
        ),
    };
    let number = |text: &str| text.parse::<usize>().ok().filter(|it| *it > 0).ok_or_else(invalid);
    let page_number = number(page)?;
    let page_size = size.map_or(Ok(PAGE_SIZE), number)?;
    if page_size > PAGE_SIZE_MAX {
        return Err(invalid());
    }
    let n_total = items.len();
    filter(&mut items, request)?;
    let n_filtered = items.len();
    sort(&mut items, request);
    let n_pages = n_filtered.div_ceil(page_size);
    if page_number > n_pages.max(1) {
        return Err(Problem::Invalid {
            error: "page_out_of_range",
            reason: format!(
                "Page out of range, page: {page_number} page size: {page_size}, len: {n_filtered}"
            ),
        });
    }
    let page = items.into_iter().skip((page_number - 1) * page_size).take(page_size);
    let page: Vec<Value> = page.map(|it| row(it, request)).collect();
    Ok(Response::ok(json!({
        "filtered_count": n_filtered,
        "item_count": page.len(),
        "items": page,
        "page": page_number,
        "page_count": n_pages,
        "page_size": page_size,
        "total_count": n_total,
    })))
}

/// By name: a part of it, or a pattern; upper and lower case do not matter.
fn filter(items: &mut Vec<Value>, request: &Request) -> Result<(), Problem> {
    let Some(wanted) = request.query("name").filter(|it| !it.is_empty()) else { return Ok(()) };
    if wanted.len() > NAME_FILTER_BYTES {
        return Err(Problem::bad("the name filter is longer than 1024 bytes"));
    }
    let of = |item: &Value| item["name"].as_str().unwrap_or_default().to_lowercase();
    if request.is_set("use_regex") {
        let pattern = Pattern::new(&format!("(?i){wanted}"))
            .map_err(|error| Problem::bad(format!("the name filter is no pattern: {error}")))?;
        items.retain(|it| pattern.matches(&of(it)));
    } else {
        let wanted = wanted.to_lowercase();
        items.retain(|it| of(it).contains(&wanted));
    }
    Ok(())
}

/// COMPAT: what has no such key is 0; `sort=` leaves the order alone.
fn sort(items: &mut [Value], request: &Request) {
    let Some(key) = request.query("sort").filter(|it| !it.is_empty()) else { return };
    let path: Vec<&str> = key.split('.').collect();
    let value = |item: &Value| path.iter().fold(item.clone(), |it, key| it[*key].clone());
    items.sort_by(|a, b| match (value(a), value(b)) {
        (Value::String(a), Value::String(b)) => a.cmp(&b),
        (Value::String(_), _) => std::cmp::Ordering::Greater,
        (_, Value::String(_)) => std::cmp::Ordering::Less,
        (a, b) => {
            let number = |it: &Value| it.as_f64().unwrap_or(f64::from(it == &Value::Bool(true)));
            number(&a).total_cmp(&number(&b))
        }
    });
    if request.is_set("sort_reverse") {
        items.reverse();
    }
}

/// The wanted keys, dotted for what lies deeper; what is not there is left out.
/// COMPAT: `rabbitmqadmin` has no place for a null in its tables, but leaves what is missing blank.
fn row(item: Value, request: &Request) -> Value {
    let mut row = columns(item, request);
    if let Value::Object(fields) = &mut row {
        fields.retain(|_, value| !value.is_null());
    }
    row
}

fn columns(item: Value, request: &Request) -> Value {
    let Some(wanted) = request.query("columns").filter(|it| !it.is_empty()) else { return item };
    let mut kept = Value::Object(Map::new());
    for column in wanted.split(',') {
        let path: Vec<&str> = column.split('.').collect();
        let found = path.iter().try_fold(&item, |it, key| it.get(*key));
        let Some(found) = found else { continue };
        let (last, parents) = path.split_last().expect("a split text has a part");
        let mut place = &mut kept;
        for key in parents {
            let entry = &mut place[*key];
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            place = entry;
        }
        place[*last] = found.clone();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::request::Method;

    fn request(query: &[(&str, &str)]) -> Request {
        let query = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Request {
            method: Method::Get,
            path: Vec::new(),
            query: query.collect(),
            body: Value::Null,
            reason: None,
        }
    }

    fn items() -> Vec<Value> {
        ["b", "A", "c"].iter().map(|it| json!({ "name": it, "deep": { "n": it.len() } })).collect()
    }

    fn page(query: &[(&str, &str)]) -> Result<Value, Value> {
        match paged(items(), &request(query)) {
            Ok(response) => Ok(response.body.unwrap_or_default()),
            Err(problem) => Err(problem.response().body.unwrap_or_default()),
        }
    }

    #[test]
    fn pages() {
        let first = page(&[("page", "1"), ("page_size", "2"), ("sort", "name")]).unwrap();
        assert_eq!(first["items"][0]["name"], "A");
        assert_eq!((&first["page_count"], &first["total_count"]), (&json!(2), &json!(3)));
        let error = page(&[("page", "9")]).unwrap_err();
        assert_eq!(error["reason"], "Page out of range, page: 9 page size: 100, len: 3");
        for (number, size) in [("0", "1"), ("x", "1"), ("1", "501")] {
            let error = page(&[("page", number), ("page_size", size)]).unwrap_err();
            assert_eq!(error["error"], "invalid_pagination_parameters");
        }
        let none = page(&[("page", "1"), ("name", "zzz")]).unwrap();
        assert_eq!((&none["page_count"], &none["items"]), (&json!(0), &json!([])));
        let some = page(&[("page", "1"), ("name", "^[AC]"), ("use_regex", "true")]).unwrap();
        assert_eq!(some["filtered_count"], 2);
        assert!(page(&[("name", "zzz")]).unwrap().as_array().unwrap().len() == 3);
    }

    #[test]
    fn columns_and_order() {
        let all = page(&[("columns", "deep.n,nope.x"), ("sort", "name"), ("sort_reverse", "true")]);
        assert_eq!(all.unwrap()[0], json!({ "deep": { "n": 1 } }));
    }
}
