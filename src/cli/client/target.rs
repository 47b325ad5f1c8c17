//! Which broker is meant, and who asks.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::io::Read as _;

use crate::cli::bench::target::Target as AmqpTarget;
use crate::cli::bench::target::unescape;
use crate::cli::client::Outcome;
use crate::cli::client::args::EndpointArgs;
use crate::cli::client::args::TargetArgs;
use crate::cli::client::failure::Failure;
use crate::cli::client::output;
use crate::cli::exit::Exit;

/// The management API's usual port.
const PORT: u16 = 15672;
/// COMPAT: RabbitMQ's management API is so many ports above AMQP's.
const ABOVE_AMQP: u16 = 10_000;

/// A broker's API. Displayed without the password.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::cli) struct Target {
    pub(in crate::cli) host: String,
    pub(in crate::cli) port: u16,
    pub(in crate::cli) user: String,
    pub(in crate::cli) password: String,
    /// `None` when nobody said which.
    pub(super) vhost: Option<String>,
}

impl Target {
    /// Flags win over the environment, and there the API's address over AMQP's.
    ///
    /// # Errors
    /// When an address is none, or the password cannot be read.
    pub(super) fn of(args: &TargetArgs) -> Result<Target, Failure> {
        let variable = |name: &str| env::var(name).ok().filter(|it| !it.is_empty());
        let nothing_said = args.api.is_none() && args.url.is_none();
        let api = args.api.clone().or_else(|| variable("RAILPOST_API").filter(|_| nothing_said));
        let amqp = || {
            let names = ["RAILPOST_URL", "AMQP_URL", "RABBITMQ_URL"];
            args.url.clone().or_else(|| names.into_iter().find_map(variable))
        };
        let mut target = match (api, amqp) {
            (Some(api), _) => of_api(&api)?,
            (None, amqp) => of_amqp(&amqp().unwrap_or_else(|| "amqp://".to_owned()))?,
        };
        if let Some(user) = args.user.clone().or_else(|| variable("RAILPOST_USER")) {
            target.user = user;
        }
        if let Some(password) = password(args)?.or_else(|| variable("RAILPOST_PASSWORD")) {
            target.password = password;
        }
        target.vhost = args.vhost.clone().or(target.vhost);
        Ok(target)
    }

    pub(super) fn vhost(&self) -> &str {
        self.vhost.as_deref().unwrap_or("/")
    }

    pub(in crate::cli) fn base(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("http://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({} as {} in {:?})", self.base(), self.user, self.vhost)
    }
}

fn password(args: &TargetArgs) -> Result<Option<String>, Failure> {
    let Some(path) = &args.password_file else { return Ok(None) };
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let shown = path.display();
    let text = text.map_err(|it| Failure::usage(format!("cannot read `{shown}`: {it}")))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads `http://user:password@host:port`.
pub(in crate::cli) fn of_api(text: &str) -> Result<Target, Failure> {
    if text.starts_with("https://") {
        return Err(Failure::usage("`https://` is not spoken; let a tunnel do TLS"));
    }
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(Failure::usage("the API's address begins with `http://`"));
    };
    // The parts before the path are those of an AMQP address.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let amqp = parse(&format!("amqp://{authority}"))?;
    let address = authority.rsplit('@').next().unwrap_or_default();
    let says_port = address.rfind(':').is_some_and(|at| !address[at..].contains(']'));
    let port = if says_port { amqp.port } else { PORT };
    Ok(Target { vhost: None, port, ..of_parts(amqp) })
}

fn of_amqp(text: &str) -> Result<Target, Failure> {
    if text.starts_with("amqps://") {
        return Err(Failure::usage("say where the API is with --api http://host:15672"));
    }
    let amqp = parse(text)?;
    let port = amqp.port.checked_add(ABOVE_AMQP);
    let port = port.ok_or_else(|| Failure::usage("say where the API is with --api"))?;
    let says_vhost = text.trim_start_matches("amqp://").contains('/');
    let vhost = Some(amqp.vhost.clone()).filter(|_| says_vhost);
    Ok(Target { port, vhost, ..of_parts(amqp) })
}

fn parse(text: &str) -> Result<AmqpTarget, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{error}")))
}

fn of_parts(amqp: AmqpTarget) -> Target {
    let AmqpTarget { host, port, user, password, .. } = amqp;
    Target { host, port, user, password, vhost: None }
}

/// `railpost endpoint`: what would be asked.
pub(super) fn show(args: &EndpointArgs) -> Outcome {
    let target = Target::of(&args.target)?;
    output::say(&format!(
        "api       {}\nuser      {}\npassword  ***\nvhost     {}\n",
        target.base(),
        target.user,
        target.vhost()
    ));
    Ok(Exit::Fine)
}

/// A part of a path: everything but letters, digits and `-._~` is escaped.
pub(in crate::cli) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    debug_assert_eq!(unescape(&escaped).as_deref(), Ok(text), "what is escaped can be read");
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(api: Option<&str>, url: Option<&str>) -> TargetArgs {
        let (api, url) = (api.map(str::to_owned), url.map(str::to_owned));
        TargetArgs { api, url, ..TargetArgs::default() }
    }

    #[test]
    fn an_address_of_either_kind_names_the_api() {
        let cases = [
            ((Some("http://h"), None), ("http://h:15672", "guest", None)),
            ((Some("http://me:pw@[::1]:8/x"), None), ("http://[::1]:8", "me", None)),
            ((Some("http://[::1]"), None), ("http://[::1]:15672", "guest", None)),
            ((None, Some("amqp://me:pw@h/shop")), ("http://h:15672", "me", Some("shop"))),
            ((None, Some("amqp://h:5700")), ("http://h:15700", "guest", None)),
        ];
        for ((api, url), (base, user, vhost)) in cases {
            let target = Target::of(&args(api, url)).expect("an address");
            assert_eq!((&*target.base(), &*target.user), (base, user), "{api:?} {url:?}");
            assert_eq!(target.vhost.as_deref(), vhost, "{api:?} {url:?}");
            assert!(!format!("{target:?}").contains("pw"));
        }
        for wrong in ["https://h", "h:15672", "http://h:x"] {
            assert!(Target::of(&args(Some(wrong), None)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_name_fits_into_a_path() {
        assert_eq!(escape("/"), "%2F");
        assert_eq!(escape("a b%~é+"), "a%20b%25~%C3%A9%2B");
    }
}
