//! Who asks, and what they may see.

use crate::access::permission::Grant;
use crate::access::permission::Right;
use crate::access::user::Role;
use crate::access::user::User;
use crate::admin::estate::Estate;
use crate::admin::request::Problem;
use crate::amqp::name::VhostName;

/// Somebody who has logged in.
#[derive(Clone, Debug)]
pub struct Caller {
    pub user: User,
}

impl Caller {
    /// COMPAT: users without a tag have no business here.
    pub fn check_management(&self) -> Result<(), Problem> {
        self.check(Role::Management, "Not management user")
    }

    pub fn check_administrator(&self) -> Result<(), Problem> {
        self.check(Role::Administrator, "Not administrator user")
    }

    pub fn check_monitoring(&self) -> Result<(), Problem> {
        self.check(Role::Monitoring, "Not monitor user")
    }

    pub fn check_policymaker(&self) -> Result<(), Problem> {
        self.check(Role::Policymaker, "Not policymaker user")
    }

    fn check(&self, role: Role, reason: &'static str) -> Result<(), Problem> {
        if self.user.is(role) { Ok(()) } else { Err(Problem::NotAllowed(reason)) }
    }

    /// The vhosts a list is about: the one that is named, or all that the caller may see.
    ///
    /// # Errors
    /// When the named one is not there, or not for the caller.
    pub fn vhosts<E: Estate>(
        &self,
        estate: &E,
        named: Option<&str>,
    ) -> Result<Vec<VhostName>, Problem> {
        if let Some(name) = named {
            return self.vhost(estate, name).map(|it| vec![it]);
        }
        let all = estate.vhosts();
        if self.user.is(Role::Monitoring) {
            return Ok(all);
        }
        let sees = |it: &VhostName| estate.directory(|all| all.may_open(&self.user.name, it));
        Ok(all.into_iter().filter(sees).collect())
    }

    /// A vhost that the caller may work in.
    ///
    /// COMPAT: monitors see every vhost; who is not let in is told so.
    pub fn vhost<E: Estate>(&self, estate: &E, name: &str) -> Result<VhostName, Problem> {
        let vhosts = estate.vhosts();
        let vhost = vhosts.into_iter().find(|it| *it == *name).ok_or(Problem::NotFound)?;
        let may_open = estate.directory(|it| it.may_open(&self.user.name, name));
        if may_open || self.user.is(Role::Monitoring) {
            return Ok(vhost);
        }
        Err(Problem::NotAllowed("User not authorised to access virtual host"))
    }

    /// Refuses what the caller has no right to, by the same permissions as over AMQP.
    pub fn check_right<E: Estate>(
        &self,
        estate: &E,
        vhost: &str,
        right: Right,
        name: &str,
    ) -> Result<(), Problem> {
        if self.grant(estate, vhost).allows(right, name) {
            return Ok(());
        }
        Err(Problem::NotAllowed("Access refused."))
    }

    pub fn grant<E: Estate>(&self, estate: &E, vhost: &str) -> Grant {
        estate.directory(|it| it.grant(&self.user.name, vhost))
    }
}
