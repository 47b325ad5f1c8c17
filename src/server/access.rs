//! Users and permissions of a running broker: checking logins, and changing who may do what.
//!
//! Lock order: what is changed by people is changed one thing after the other; the directory's
//! lock may be taken by a turn, which holds a vhost's, so nothing is locked while it is held but
//! the log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use parking_lot::RwLock;
use sha2::Digest as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::access::directory::Claim;
use crate::access::directory::Directory;
use crate::access::directory::LoginError;
use crate::access::password::PasswordHash;
use crate::access::permission::Grant;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::access::sasl::Credentials;
use crate::access::setback::Address;
use crate::access::setback::FIRST;
use crate::access::setback::Setback;
use crate::access::setback::Setbacks;
use crate::access::user::Origin;
use crate::access::user::User;
use crate::access::user::UserLimits;
use crate::admin::estate::Put;
use crate::admin::estate::Refused;
use crate::amqp::id::BatchId;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::amqp::time::Timestamp;
use crate::broker::definition::Definition;
use crate::server::config::DefaultUser;
use crate::server::metrics::LoginCounts;
use crate::server::node::Node;
use crate::server::vhosts::LiveVhost;
use crate::session::desk::Eviction;

/// Who may do what, and who has shown lately who they are.
#[derive(Debug)]
pub(in crate::server) struct Access {
    directory: RwLock<Directory>,
    /// Raised after every change, under the directory's lock.
    generation: AtomicU64,
    grants: Mutex<Grants>,
    verified: Verified,
    /// Passwords hashed at a time: each takes 19 MiB and a core.
    hashing: Semaphore,
    setbacks: Mutex<Setbacks>,
    /// Refusals that may be held back for long at a time.
    held_back: Semaphore,
}

/// What was asked of the directory since it changed last.
#[derive(Debug, Default)]
struct Grants {
    generation: u64,
    of: HashMap<(UserName, VhostName), Arc<Grant>, RandomState>,
}

/// Logins that were checked the slow way, so that a client that comes again need not wait.
///
/// Kept are digests of hash and password under a secret of this process: nothing that would help
/// anybody outside of it.
struct Verified {
    secret: [u8; 32],
    seen: Mutex<HashMap<UserName, [u8; 32], RandomState>>,
}

/// Passwords hashed at a time.
const HASHING: usize = 2;

/// Refusals that are held back for as long as the table of setbacks says: a socket each. Others are
/// told after the shortest delay.
const HELD_BACK: usize = 256;

/// Logins remembered; all are forgotten when there are more.
const VERIFIED_MAX: usize = 10_000;

impl Access {
    pub(in crate::server) fn new(directory: Directory) -> Access {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system has randomness");
        Access {
            directory: RwLock::new(directory),
            generation: AtomicU64::new(1),
            grants: Mutex::new(Grants::default()),
            verified: Verified { secret, seen: Mutex::new(HashMap::default()) },
            hashing: Semaphore::new(HASHING),
            setbacks: Mutex::new(Setbacks::default()),
            held_back: Semaphore::new(HELD_BACK),
        }
    }

    pub(in crate::server) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks something up.
    pub(in crate::server) fn read<R>(&self, look: impl FnOnce(&Directory) -> R) -> R {
        look(&self.directory.read())
    }

    /// Changes the directory, and lets every connection know that it asks again.
    pub(in crate::server) fn change<R>(&self, change: impl FnOnce(&mut Directory) -> R) -> R {
        let mut directory = self.directory.write();
        let result = change(&mut directory);
        self.generation.fetch_add(1, Ordering::AcqRel);
        result
    }

    /// What a user may do in a vhost; compiled once for all connections.
    pub(in crate::server) fn grant(&self, user: &str, vhost: &VhostName) -> Arc<Grant> {
        let directory = self.directory.read();
        let generation = self.generation();
        let mut grants = self.grants.lock();
        if grants.generation != generation {
            grants.generation = generation;
            grants.of.clear();
        }
        let key = (UserName::new(user), vhost.clone());
        let grant = grants.of.entry(key).or_insert_with(|| Arc::new(directory.grant(user, vhost)));
        Arc::clone(grant)
    }

    pub(in crate::server) fn claim(&self, credentials: &Credentials, loopback: bool) -> Claim {
        self.read(|it| it.claim(credentials, loopback))
    }

    /// Whether a password matches a claim, as far as that can be said at once.
    pub(in crate::server) fn known(
        &self,
        claim: &Claim,
        credentials: &Credentials,
    ) -> Option<bool> {
        if !claim.hash.is_slow() {
            return Some(claim.hash.matches(&credentials.password));
        }
        self.verified.contains(&claim.hash, credentials).then_some(true)
    }

    /// Checks a login, off the threads that serve connections.
    pub(in crate::server) async fn login(
        &self,
        claim: Claim,
        credentials: Credentials,
    ) -> Result<UserName, LoginError> {
        if let Some(matches) = self.known(&claim, &credentials) {
            return claim.settle(matches);
        }
        let _permit = self.hashing.acquire().await;
        let hash = claim.hash.clone();
        let password = credentials.password.clone();
        let check = tokio::task::spawn_blocking(move || hash.matches(&password));
        // A panic is no match.
        let matches = check.await.unwrap_or(false);
        if matches {
            self.verified.insert(&claim.hash, &credentials);
        }
        claim.settle(matches)
    }

    /// Notes how a login ended; what a refusal brings with it.
    pub(in crate::server) fn note(
        &self,
        peer: SocketAddr,
        user: &str,
        login: &Result<UserName, LoginError>,
        now: Timestamp,
    ) -> Option<Setback> {
        let address = match peer.ip().to_canonical() {
            IpAddr::V4(it) => Address::v4(it.to_bits()),
            IpAddr::V6(it) => Address::v6(it.to_bits()),
        };
        let mut setbacks = self.setbacks.lock();
        match login {
            Ok(_) => {
                setbacks.accepted(address, user);
                None
            }
            Err(_) => Some(setbacks.refused(address, user, now)),
        }
    }

    /// Comes when a refusal may be told.
    pub(in crate::server) async fn hold_back(&self, setback: Setback) {
        let place = self.held_back.try_acquire();
        let delay = if place.is_ok() { setback.delay } else { FIRST };
        tokio::time::sleep(Duration::from_millis(delay.0)).await;
    }

    /// The hash of a new password, made off the threads that serve connections.
    pub(in crate::server) async fn hash(&self, password: String) -> Option<PasswordHash> {
        let _permit = self.hashing.acquire().await;
        tokio::task::spawn_blocking(move || new_hash(&password)).await.ok()
    }
}

/// As [`PasswordHash::new`], with a fresh salt.
pub(in crate::server) fn new_hash(password: &str) -> PasswordHash {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).expect("the system has randomness");
    PasswordHash::new(salt, password)
}

/// The hash of the password everybody knows. A dear one would protect nothing, and cost each first
/// start 19 MiB.
fn known_hash(password: &str) -> PasswordHash {
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).expect("the system has randomness");
    PasswordHash::sha256(salt, password)
}

impl Verified {
    fn digest(&self, hash: &PasswordHash, credentials: &Credentials) -> [u8; 32] {
        let digest = Sha256::new()
            .chain_update(self.secret)
            .chain_update(hash.to_text())
            .chain_update([0])
            .chain_update(&credentials.password);
        digest.finalize().into()
    }

    fn contains(&self, hash: &PasswordHash, credentials: &Credentials) -> bool {
        let digest = self.digest(hash, credentials);
        let seen = self.seen.lock();
        seen.get(credentials.user.as_str()).is_some_and(|it| it.ct_eq(&digest).into())
    }

    fn insert(&self, hash: &PasswordHash, credentials: &Credentials) {
        let digest = self.digest(hash, credentials);
        let mut seen = self.seen.lock();
        if seen.len() >= VERIFIED_MAX {
            seen.clear();
        }
        seen.insert(UserName::new(&credentials.user), digest);
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verified(…)")
    }
}

impl Node {
    /// Counts a login and logs a refusal; with whom failures grow, once per step. What a refusal
    /// brings with it.
    pub(in crate::server) fn note_login(
        &self,
        counts: &LoginCounts,
        peer: SocketAddr,
        user: &str,
        login: &Result<UserName, LoginError>,
    ) -> Option<Setback> {
        counts.note(login.is_ok());
        let setback = self.access.note(peer, user, login, self.clock.now());
        if let (Some(Setback { delay, grew }), Err(error)) = (setback, login) {
            if grew {
                tracing::info!(%peer, user, ?error, %delay, "logins fail: refusals are held back");
            } else {
                tracing::debug!(%peer, user, ?error, "login refused");
            }
        }
        setback
    }

    /// Adds or replaces a user; its permissions stay.
    pub(in crate::server) fn put_user(&self, user: User) -> Result<Put, Refused> {
        let definition = user_definition(&user);
        self.access.change(|directory| {
            let there = stored(directory, &user.name)?;
            directory.put_user(user);
            Ok(Put { existed: there, after: self.log.define(&definition) })
        })
    }

    /// Removes a user with all permissions, and ends its connections.
    pub(in crate::server) fn delete_user(&self, name: &str) -> Result<BatchId, Refused> {
        let batch = self.access.change(|directory| {
            if !stored(directory, name)? {
                return Err(Refused::NoSuchUser);
            }
            for definition in permissions_where(directory, |user, _| user == name) {
                self.log.undefine(&definition);
            }
            directory.remove_user(name);
            Ok(self.log.undefine(&Definition::user(name)))
        })?;
        let user = UserName::new(name);
        self.registry.evict(|it| it.user == user, &Eviction::UserDeleted { user: user.clone() });
        Ok(batch)
    }

    pub(in crate::server) fn put_permission(
        &self,
        user: &str,
        vhost: &str,
        permission: Permission,
    ) -> Result<Put, Refused> {
        let (user, vhost) = self.both(user, vhost)?;
        let definition = permission_definition(&user, &vhost, &permission);
        Ok(self.access.change(|directory| {
            let there = directory.permissions().any(|(of, at, _)| *of == user && *at == vhost);
            directory.put_permission(user, vhost, permission);
            Put { existed: there, after: self.log.define(&definition) }
        }))
    }

    /// `None` when there was none.
    pub(in crate::server) fn delete_permission(&self, user: &str, vhost: &str) -> Option<BatchId> {
        self.access.change(|directory| {
            let definition = permission_definition(&user.into(), &vhost.into(), &Permission::all());
            let removed = directory.remove_permission(user, vhost);
            removed.then(|| self.log.undefine(&definition))
        })
    }

    pub(in crate::server) fn put_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: TopicPermission,
    ) -> Result<Put, Refused> {
        let (user, vhost) = self.both(user, vhost)?;
        let exchange = ExchangeName::new(exchange);
        let definition = topic_definition(&user, &vhost, &exchange, &permission);
        Ok(self.access.change(|directory| {
            let key = (&user, &vhost, &exchange);
            let there = directory.topic_permissions().any(|(a, b, c, _)| (a, b, c) == key);
            directory.put_topic_permission(user, vhost, exchange, permission);
            Put { existed: there, after: self.log.define(&definition) }
        }))
    }

    /// Removes those of one exchange, or all; `None` when there were none.
    pub(in crate::server) fn delete_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Option<BatchId> {
        self.access.change(|directory| {
            let gone = directory.remove_topic_permissions(user, vhost, exchange);
            let nothing = TopicPermission::default();
            gone.iter()
                .map(|it| topic_definition(&user.into(), &vhost.into(), it, &nothing))
                .map(|definition| self.log.undefine(&definition))
                .max()
        })
    }

    /// Forgets who may do what in a vhost that is being deleted.
    pub(in crate::server) fn forget_permissions(&self, vhost: &str) {
        self.access.change(|directory| {
            for definition in permissions_where(directory, |_, at| at == vhost) {
                self.log.undefine(&definition);
            }
            directory.remove_vhost(vhost);
        });
    }

    fn both(&self, user: &str, vhost: &str) -> Result<(UserName, VhostName), Refused> {
        if self.vhost(vhost).is_none() {
            return Err(Refused::NoSuchVhost);
        }
        if self.access.read(|it| it.user(user).is_none()) {
            return Err(Refused::NoSuchUser);
        }
        Ok((UserName::new(user), VhostName::new(vhost)))
    }
}

/// Makes the default user at the first start on a data directory, and lets it into every vhost; at
/// later starts, into those that a configuration or topology has brought since.
///
/// `made` is the name of the one that was made before, who may have been deleted meanwhile.
pub(in crate::server) fn found(
    node: &Node,
    config: &DefaultUser,
    made: Option<&str>,
    known: &[Arc<LiveVhost>],
) {
    let name = made.unwrap_or(&config.name);
    if made.is_none() {
        if node.access.read(|it| it.user(name).is_none()) {
            let user = User {
                name: UserName::new(name),
                password: Some(match config.password.as_str() {
                    "guest" => known_hash("guest"),
                    secret => new_hash(secret),
                }),
                tags: vec!["administrator".to_owned()],
                limits: UserLimits::default(),
                loopback_only: User::is_loopback_only(name),
                origin: Origin::Stored,
            };
            // There is none of that name, so there is nothing it could contradict.
            let _ = node.put_user(user);
        }
        node.log.define(&Definition::DefaultUser { name: name.to_owned() });
    }
    if node.access.read(|it| it.user(name).is_none_or(|it| it.origin != Origin::Stored)) {
        return;
    }
    for vhost in node.vhosts() {
        let is_new = made.is_none() || known.iter().all(|it| it.name != vhost.name);
        if is_new {
            // Both are there.
            let _ = node.put_permission(name, &vhost.name, Permission::all());
        }
    }
}

/// Whether there is such a user.
///
/// # Errors
/// When it is one of the configuration file.
fn stored(directory: &Directory, name: &str) -> Result<bool, Refused> {
    match directory.user(name) {
        None => Ok(false),
        Some(user) if user.origin == Origin::Stored => Ok(true),
        Some(user) => Err(Refused::Configured(user.name.clone())),
    }
}

fn permissions_where(
    directory: &Directory,
    wanted: impl Fn(&str, &str) -> bool,
) -> Vec<Definition> {
    let permissions = directory
        .permissions()
        .filter(|(user, vhost, _)| wanted(user, vhost))
        .map(|(user, vhost, it)| permission_definition(user, vhost, it));
    let topics = directory
        .topic_permissions()
        .filter(|(user, vhost, ..)| wanted(user, vhost))
        .map(|(user, vhost, exchange, it)| topic_definition(user, vhost, exchange, it));
    permissions.chain(topics).collect()
}

fn user_definition(user: &User) -> Definition {
    Definition::User {
        name: user.name.to_string(),
        password: user.password.as_ref().map(PasswordHash::to_text),
        tags: user.tags.clone(),
        connections_max: user.limits.connections_max,
        channels_max: user.limits.channels_max,
    }
}

fn permission_definition(user: &UserName, vhost: &VhostName, of: &Permission) -> Definition {
    Definition::Permission {
        user: user.to_string(),
        vhost: vhost.to_string(),
        configure: of.configure.as_str().to_owned(),
        write: of.write.as_str().to_owned(),
        read: of.read.as_str().to_owned(),
    }
}

fn topic_definition(
    user: &UserName,
    vhost: &VhostName,
    exchange: &ExchangeName,
    of: &TopicPermission,
) -> Definition {
    Definition::TopicPermission {
        user: user.to_string(),
        vhost: vhost.to_string(),
        exchange: exchange.to_string(),
        write: of.write().to_owned(),
        read: of.read().to_owned(),
    }
}
