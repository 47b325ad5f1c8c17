//! What a stream of events tells: first everything, then what is different.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::admin::caller::Caller;
use crate::admin::overview;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::v1::estate::Operations;
use crate::admin::v1::job;
use crate::broker::host::Host as _;

/// Things by what they are called: `overview`, `queue:/jobs`, `job:7`.
pub type Picture = BTreeMap<String, Value>;

/// Which things.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topics {
    pub overview: bool,
    /// All queues that the caller sees.
    pub queues: bool,
    pub jobs: bool,
    /// These queues, as `VHOST/QUEUE`.
    pub named: Vec<String>,
}

impl Topics {
    /// Reads `overview,queues,jobs,queue:VHOST/QUEUE`; nothing is all but the named ones.
    pub fn parse(text: &str) -> Result<Topics, Problem> {
        let mut topics = Topics::default();
        for topic in text.split(',').filter(|it| !it.is_empty()) {
            match (topic, topic.strip_prefix("queue:")) {
                (_, Some(name)) => topics.named.push(name.to_owned()),
                ("overview", None) => topics.overview = true,
                ("queues", None) => topics.queues = true,
                ("jobs", None) => topics.jobs = true,
                (other, None) => {
                    return Err(Problem::bad(format!("no topic is called `{other}`")));
                }
            }
        }
        if topics == Topics::default() {
            return Ok(Topics { overview: true, queues: true, jobs: true, named: Vec::new() });
        }
        Ok(topics)
    }
}

/// How everything is that the topics are about and the caller may see.
pub fn picture<E: Operations>(
    estate: &E,
    caller: &Caller,
    request: &Request,
) -> Result<Picture, Problem> {
    let topics = Topics::parse(request.query("topics").unwrap_or_default())?;
    let mut picture = Picture::new();
    if topics.overview {
        let view = overview::overview(estate, caller, request)?.body.unwrap_or_default();
        let kept = ["message_stats", "queue_totals", "object_totals"];
        let kept = kept.map(|key| (key.to_owned(), view[key].clone()));
        picture.insert("overview".to_owned(), Value::Object(kept.into_iter().collect()));
    }
    if topics.queues || !topics.named.is_empty() {
        for vhost in caller.vhosts(estate, None)? {
            let mut queues = Vec::new();
            estate.in_vhost(&vhost, |turn| {
                let all = turn.vhost().queues().map(|it| (it.id, format!("{vhost}/{}", it.name)));
                let all: Vec<_> = all.collect();
                for (id, name) in all {
                    if topics.queues || topics.named.contains(&name) {
                        let numbers = turn.queue(id, |it, _| (it.depth(), it.is_paused()));
                        queues.extend(numbers.map(|it| (name, it)));
                    }
                }
            });
            for (name, (depth, paused)) in queues {
                let view = json!({
                    "ready": depth.ready,
                    "unacked": depth.unacked,
                    "delayed": depth.delayed,
                    "consumers": depth.consumers,
                    "paused": paused,
                });
                picture.insert(format!("queue:{name}"), view);
            }
        }
    }
    if topics.jobs {
        for (id, job, progress) in estate.jobs() {
            if caller.vhost(estate, &job.vhost).is_ok() {
                picture.insert(format!("job:{id}"), job::view(id, &job, &progress));
            }
        }
    }
    Ok(picture)
}

/// What is new or different in the second picture; what is gone is null.
pub fn difference(before: &Picture, after: &Picture) -> Picture {
    let gone = before.keys().filter(|it| !after.contains_key(*it));
    let gone = gone.map(|it| (it.clone(), Value::Null));
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    gone.chain(changed.map(|(key, value)| (key.clone(), value.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(things: &[(&str, u64)]) -> Picture {
        things.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect()
    }

    #[test]
    fn only_differences_are_told() {
        let before = picture(&[("a", 1), ("b", 2), ("c", 3)]);
        let after = picture(&[("a", 1), ("b", 5), ("d", 4)]);
        let expected = json!({ "b": 5, "c": null, "d": 4 });
        assert_eq!(json!(difference(&before, &after)), expected);
        assert!(difference(&after, &after).is_empty());
    }

    #[test]
    fn topics_are_named() {
        let topics = Topics::parse("queue:shop/a,jobs").expect("topics");
        let named = vec!["shop/a".to_owned()];
        assert_eq!(topics, Topics { jobs: true, named, ..Topics::default() });
        assert!(Topics::parse("").expect("topics").queues);
        assert!(Topics::parse("weather").is_err());
    }
}
