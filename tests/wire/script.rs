//! Running one conversation.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::path::Path;

use railpost::amqp::id::ConnectionId;
use railpost::topology::Source;

use crate::operator;
use crate::words;
use crate::words::Words;
use crate::world::World;

/// Plays a script, on a topology if there is one; the error names file, line, what was expected and
/// what came.
pub fn run(name: &str, text: &str, topology: Option<&Path>) -> Result<(), String> {
    let mut stage = Stage { world: World::new(), heard: BTreeMap::new() };
    if let Some(path) = topology {
        let text = std::fs::read_to_string(path).map_err(|it| it.to_string())?;
        let path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        stage.world.declare(Source { path, text })?;
    }
    for (at, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        stage.step(line).map_err(|problem| format!("{name}:{}: {line}\n  {problem}", at + 1))?;
    }
    stage.listen();
    match stage.heard.iter().find(|(_, heard)| !heard.is_empty()) {
        None => Ok(()),
        Some((who, heard)) => {
            let who = char::from(u8::try_from(who.0).unwrap_or(b'?'));
            Err(format!("{name}: at the end {who} still heard {heard:?}"))
        }
    }
}

struct Stage {
    world: World,
    heard: BTreeMap<ConnectionId, VecDeque<String>>,
}

impl Stage {
    fn step(&mut self, line: &str) -> Result<(), String> {
        if let Some(ms) = line.strip_prefix("wait ") {
            let ms = ms.trim_end_matches("ms").parse().map_err(|_| "wait how long?")?;
            self.world.wait(ms);
            return Ok(());
        }
        if let Some(state) = line.strip_prefix("alarm ") {
            self.world.set_alarm(state == "on");
            return Ok(());
        }
        if let Some(change) = line.strip_prefix("operator ") {
            return operator::change(&mut self.world, change);
        }
        let who = ConnectionId(u64::from(line.as_bytes()[0]));
        match line.get(1..2) {
            Some(">") => self.say(who, line[2..].trim()),
            Some("<") => self.expect(who, line[2..].trim()),
            _ => Err("neither `A>` nor `A<` nor `wait`".to_owned()),
        }
    }

    fn say(&mut self, who: ConnectionId, line: &str) -> Result<(), String> {
        let known = self.world.connections().contains(&who);
        match line.split(' ').next().unwrap_or_default() {
            "socket" => {
                self.world.connect(who);
                return Ok(());
            }
            "connect" => return self.connect(who, line),
            "drop" => {
                self.world.break_off(who);
                return Ok(());
            }
            "hex" => {
                if !known {
                    self.connect(who, "connect")?;
                }
                let bytes: Result<Vec<u8>, _> =
                    line[3..].split_whitespace().map(|it| u8::from_str_radix(it, 16)).collect();
                self.world.receive(who, &bytes.map_err(|it| it.to_string())?);
                return Ok(());
            }
            _ => {}
        }
        if !known {
            self.connect(who, "connect")?;
        }
        let (channel, rest) = line.split_once(' ').ok_or("channel and method")?;
        let channel: u16 = channel.parse().map_err(|_| "a channel number")?;
        let bytes = words::to_bytes(channel, rest);
        self.world.receive(who, &bytes);
        Ok(())
    }

    /// Logs in and opens channel 1.
    fn connect(&mut self, who: ConnectionId, line: &str) -> Result<(), String> {
        let words = Words::parse(line);
        let user = words.get("user").unwrap_or("guest");
        let name = words.get("name").map(|it| format!("connection_name:S{it}"));
        let blocked = Some("capabilities:F{connection.blocked:ttrue}".to_owned());
        let blocked = blocked.filter(|_| line.contains(" hears-blocked"));
        let properties: Vec<String> = name.into_iter().chain(blocked).collect();
        let properties = format!("{{{}}}", properties.join(","));
        self.world.connect(who);
        for step in [
            format!("connection.start-ok user={user} properties={properties}"),
            "connection.tune-ok".to_owned(),
            "connection.open".to_owned(),
        ] {
            self.world.receive(who, &words::to_bytes(0, &step));
        }
        self.world.receive(who, &words::to_bytes(1, "channel.open"));
        for expected in
            ["0 connection.start", "0 connection.tune", "0 connection.open-ok", "1 channel.open-ok"]
        {
            self.expect(who, expected)?;
        }
        Ok(())
    }

    fn listen(&mut self) {
        for who in self.world.connections() {
            let bytes = self.world.written(who);
            self.heard.entry(who).or_default().extend(words::to_lines(&bytes));
        }
    }

    /// The next thing `who` hears has all the words of `line`, and none marked with `!`.
    fn expect(&mut self, who: ConnectionId, line: &str) -> Result<(), String> {
        self.listen();
        if line == "hangup" {
            return match self.world.hung_up(who) {
                true => Ok(()),
                false => Err("the connection is still there".to_owned()),
            };
        }
        let heard = self.heard.entry(who).or_default();
        if line.is_empty() {
            return match heard.front() {
                None => Ok(()),
                Some(line) => Err(format!("heard {line}")),
            };
        }
        let Some(actual) = heard.pop_front() else { return Err("heard nothing".to_owned()) };
        let found: Vec<String> = Words::parse(&actual).iter().collect();
        for wanted in Words::parse(line).iter() {
            let (negated, wanted) = match wanted.strip_prefix('!') {
                Some(rest) => (true, rest.to_owned()),
                None => (false, wanted),
            };
            let matches = |it: &String| match wanted.strip_suffix('*') {
                Some(prefix) => it.starts_with(prefix),
                None => *it == wanted,
            };
            if found.iter().any(matches) == negated {
                return Err(format!("heard {actual}"));
            }
        }
        Ok(())
    }
}
