//! What the daemon's configuration file says that rules look at, each value with its place. The
//! server reads the file itself; who calls this has made sure that it can.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use toml::de::DeArray;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::access::password::PasswordHash;
use crate::access::user::User;
use crate::topology::login::Login;
use crate::topology::source::Located;
use crate::topology::source::Origin;

#[derive(Clone, Debug, Default)]
pub(in crate::topology) struct Configuration {
    /// Where passwords are said, by the keys `listen` and `http`.
    pub(in crate::topology) listeners: Vec<Listener>,
    pub(in crate::topology) users: Vec<ConfiguredUser>,
    pub(in crate::topology) connections_max: Option<Located<u64>>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::topology) struct Listener {
    pub(in crate::topology) key: &'static str,
    pub(in crate::topology) address: Located<SocketAddr>,
}

#[derive(Clone, Debug)]
pub(in crate::topology) struct ConfiguredUser {
    pub(in crate::topology) login: Login,
    /// In which vhosts everything is allowed; `None` is in all of them.
    pub(in crate::topology) vhosts: Option<BTreeSet<String>>,
}

/// Reads what is there; what has another form is left to whoever reads the whole file.
pub(in crate::topology) fn read(file: u32, text: &str) -> Configuration {
    let (table, _) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    let reader = Reader { file, table };
    let listener = |key| {
        let text = reader.text(key)?;
        let address = Located::new(text.value.parse().ok()?, text.origin);
        Some(Listener { key, address })
    };
    let users = table.get("users").and_then(|it| it.get_ref().as_array());
    Configuration {
        listeners: ["listen", "http"].into_iter().filter_map(listener).collect(),
        users: users.map(|it| self::users(file, it)).unwrap_or_default(),
        connections_max: reader.number("connections_max"),
    }
}

fn users(file: u32, all: &DeArray<'_>) -> Vec<ConfiguredUser> {
    let tables = all.iter().filter_map(|it| it.get_ref().as_table());
    tables.filter_map(|table| Reader { file, table }.user()).collect()
}

struct Reader<'d> {
    file: u32,
    table: &'d DeTable<'d>,
}

impl<'d> Reader<'d> {
    fn text(&self, key: &str) -> Option<Located<&'d str>> {
        let value = self.table.get(key)?;
        let text = value.get_ref().as_str()?;
        Some(Located::new(text, Origin::new(self.file, value.span())))
    }

    fn number(&self, key: &str) -> Option<Located<u64>> {
        let value = self.table.get(key)?;
        let DeValue::Integer(it) = value.get_ref() else { return None };
        let number = u64::from_str_radix(it.as_str(), it.radix()).ok()?;
        Some(Located::new(number, Origin::new(self.file, value.span())))
    }

    fn texts(&self, key: &str) -> Option<BTreeSet<String>> {
        let all = self.table.get(key)?.get_ref().as_array()?;
        let texts = all.iter().filter_map(|it| it.get_ref().as_str());
        Some(texts.map(str::to_owned).collect())
    }

    fn user(&self) -> Option<ConfiguredUser> {
        let name = self.text("name")?;
        let plain = self.text("password").map(|it| PasswordHash::sha256([0; 4], it.value));
        let hashed = self.text("password_hash").and_then(|it| PasswordHash::parse(it.value));
        let flag = self.table.get("loopback_only").and_then(|it| it.get_ref().as_bool());
        let login = Login {
            name: name.value.to_owned(),
            origin: name.origin,
            password: plain.or(hashed),
            tags: self.texts("tags").unwrap_or_default(),
            loopback_only: flag == Some(true) || User::is_loopback_only(name.value),
        };
        Some(ConfiguredUser { login, vhosts: self.texts("vhosts") })
    }
}
