//! What people do to the broker in the middle of a conversation.
//!
//! ```text
//! operator permit app ^mine- .* ^$               configure, write, read
//! operator topics app amq.topic ^a\\. .*          write, read
//! operator forbid app                            takes the permission away
//! operator limit app channels 2
//! operator delete app
//! operator vhost queues 3                        or `type quorum`
//! operator policy p ^q queues 0 {"max-length":5} name, pattern, apply-to, priority, definition
//! operator bound p ^q queues 0 {"max-length":5}  the same, an operator policy
//! operator clear p                               both policies of that name
//! ```

use railpost::access::permission::Permission;
use railpost::access::permission::TopicPermission;
use railpost::access::user::UserLimits;
use railpost::amqp::argument::QueueType;
use railpost::broker::effective;
use railpost::broker::policy::Policy;
use railpost::broker::policy::Side;

use crate::world::World;
use crate::world::user;

pub fn change(world: &mut World, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["permit", name, configure, write, read] => {
            let permission =
                Permission::new(configure, write, read).map_err(|it| it.to_string())?;
            world.change_access(|it| {
                if it.user(name).is_none() {
                    it.put_user(user(name, UserLimits::default()));
                }
                it.put_permission(name.into(), "/".into(), permission);
            });
        }
        ["topics", name, exchange, write, read] => {
            let permission = TopicPermission::new(write, read).map_err(|it| it.to_string())?;
            world.change_access(|it| {
                it.put_topic_permission(name.into(), "/".into(), exchange.into(), permission);
            });
        }
        ["forbid", name] => world.change_access(|it| {
            it.remove_permission(name, "/");
        }),
        ["limit", name, "channels", max] => {
            let channels_max = max.parse().ok();
            let limits = UserLimits { channels_max, ..UserLimits::default() };
            world.change_access(|it| it.put_user(user(name, limits)));
        }
        ["delete", name] => world.delete_user(name),
        ["vhost", "queues", max] => world.desk.0.vhost.profile.queues_max = max.parse().ok(),
        ["vhost", "type", name] => {
            world.desk.0.vhost.profile.default_queue_type = QueueType::parse(name);
        }
        ["policy" | "bound", name, pattern, apply_to, priority, definition] => {
            let side = if words[0] == "policy" { Side::User } else { Side::Operator };
            let priority = priority.parse().map_err(|_| "a priority")?;
            let definition = serde_json::from_str(definition).map_err(|it| it.to_string())?;
            let policy = Policy::new(side, name, pattern, apply_to, priority, definition);
            let set = policy.and_then(|it| effective::set_policy(&mut world.desk.0, side, it));
            set.map_err(|it| it.to_string())?;
            world.desk.0.pump();
        }
        ["clear", name] => {
            for side in [Side::User, Side::Operator] {
                effective::clear_policy(&mut world.desk.0, side, name);
            }
            world.desk.0.pump();
        }
        _ => return Err("what should be changed?".to_owned()),
    }
    Ok(())
}
