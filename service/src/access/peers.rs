//! Which caller has which roles, as configured.
//!
//! Does not own: what a role may do. Nobody has a role without an entry, with one exception: on a Unix socket the
//! process's own user and root are operator and coordinator, because they could read its files and memory anyway.

use std::{collections::BTreeMap, fs};

use packhorse_model::{ErrorKind, Problem, Subject};

use super::{Right, Role, Who};
use crate::config::{PeerName, PeerSection};

/// The callers that are known.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    names: BTreeMap<String, Vec<Role>>,
    users: BTreeMap<u32, Vec<Role>>,
    groups: BTreeMap<u32, Vec<Role>>,
}

const OWN: [Role; 2] = [Role::Operator, Role::Coordinator];

impl Peers {
    /// Only this process's own user and root, on Unix sockets.
    pub fn own() -> Self {
        let mut peers = Self::default();
        for uid in [0, rustix::process::geteuid().as_raw()] {
            peers.users.insert(uid, OWN.to_vec());
        }
        peers
    }

    /// The callers of `[[peer]]` sections, and ourselves.
    pub fn from_config(sections: &[PeerSection]) -> Result<Self, Problem> {
        let mut peers = Self::own();
        for section in sections {
            peers.add(section)?;
        }
        Ok(peers)
    }

    fn add(&mut self, section: &PeerSection) -> Result<(), Problem> {
        let role = section.role;
        match section.name().map_err(|answer| unknown(section, answer))? {
            PeerName::San(name) => self.names.entry(plain(&name)).or_default().push(role),
            PeerName::Uid(uid) => self.users.entry(uid).or_default().push(role),
            PeerName::Gid(gid) => self.groups.entry(gid).or_default().push(role),
            PeerName::User(name) => {
                let (uid, _) = user(&name).ok_or_else(|| unknown(section, "is not in /etc/passwd".into()))?;
                self.users.entry(uid).or_default().push(role);
            }
            PeerName::Group(name) => {
                let group = group(&name).ok_or_else(|| unknown(section, "is not in /etc/group".into()))?;
                self.groups.entry(group.0).or_default().push(role);
                for (uid, _) in group.1.iter().filter_map(|member| user(member)) {
                    self.users.entry(uid).or_default().push(role);
                }
            }
        }
        Ok(())
    }

    /// Whether anybody but our own user and root may use a Unix socket.
    pub fn has_other_users(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        !self.groups.is_empty() || self.users.keys().any(|uid| *uid != 0 && *uid != own)
    }

    /// Whether any role is given to a certificate.
    pub fn has_certificates(&self) -> bool {
        !self.names.is_empty()
    }

    /// The roles of a caller.
    pub fn roles_of(&self, who: &Who) -> Vec<Role> {
        let of = |map: &BTreeMap<u32, Vec<Role>>, id| map.get(&id).cloned().unwrap_or_default();
        match who {
            Who::Certificate { names, .. } => {
                names.iter().filter_map(|name| self.names.get(name)).flatten().copied().collect()
            }
            Who::Local { uid, gid } => [of(&self.users, *uid), of(&self.groups, *gid)].concat(),
            Who::Loopback => OWN.to_vec(),
        }
    }

    /// Whether a caller has a right.
    pub fn allow(&self, who: &Who, right: Right) -> bool {
        self.roles_of(who).iter().any(|role| role.has(right))
    }
}

/// DNS names are the same in upper and lower case; URIs are not.
pub(crate) fn plain(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { name.to_ascii_lowercase() }
}

fn unknown(section: &PeerSection, answer: String) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "read peer")
        .on(section)
        .answered(answer)
        .next("correct the [[peer]] section")
}

/// User and primary group of a name.
fn user(name: &str) -> Option<(u32, u32)> {
    let line = line_of("/etc/passwd", name)?;
    Some((line.get(2)?.parse().ok()?, line.get(3)?.parse().ok()?))
}

/// Id and members of a group.
fn group(name: &str) -> Option<(u32, Vec<String>)> {
    let line = line_of("/etc/group", name)?;
    let members = line.get(3)?.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
    Some((line.get(2)?.parse().ok()?, members))
}

fn line_of(file: &str, name: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    lines.find(|fields| fields.first().is_some_and(|first| first == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(text: &str) -> Peers {
        #[derive(serde::Deserialize)]
        struct File {
            peer: Vec<PeerSection>,
        }
        let file: File = toml::from_str(text).expect("valid sections");
        Peers::from_config(&file.peer).expect("known peers")
    }

    fn certificate(names: &[&str]) -> Who {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Who::Certificate { names, from: [10, 0, 0, 1].into() }
    }

    #[test]
    fn a_certificate_has_the_roles_of_its_names() {
        let peers = peers(
            "[[peer]]\nsan = 'Ops.internal'\nrole = 'operator'\n[[peer]]\nsan = 'a.internal'\nrole = 'agent'\n\
             [[peer]]\nsan = 'spiffe://x/Watch'\nrole = 'observer'\n",
        );
        assert!(peers.allow(&certificate(&["ops.internal"]), Right::Operate));
        assert!(peers.allow(&certificate(&["z", "spiffe://x/Watch"]), Right::Observe));
        for nobody in [&["a.internal"][..], &["x.ops.internal"], &["spiffe://x/watch"], &[], &["internal"]] {
            for right in [Right::Drive, Right::Operate, Right::Observe, Right::Ask] {
                assert!(!peers.allow(&certificate(nobody), right), "{nobody:?} {right:?}");
            }
        }
        assert!(!peers.allow(&certificate(&["ops.internal"]), Right::Drive));
    }

    #[test]
    fn a_local_user_has_its_own_roles_and_those_of_its_group() {
        let peers = peers(
            "[[peer]]\nuid = 998\nrole = 'observer'\n[[peer]]\ngid = 77\nrole = 'operator'\n\
             [[peer]]\nuser = 'root'\nrole = 'observer'\n",
        );
        let local = |uid, gid| Who::Local { uid, gid };
        assert!(peers.allow(&local(998, 1), Right::Observe) && !peers.allow(&local(998, 1), Right::Operate));
        assert!(peers.allow(&local(998, 77), Right::Operate));
        assert!(!peers.allow(&local(12345, 1), Right::Ask));
        assert!(peers.allow(&local(0, 0), Right::Drive), "root is always admitted");
        assert!(peers.has_other_users() && !Peers::own().has_other_users());
    }

    #[test]
    fn a_name_that_this_host_does_not_know_is_an_error() {
        let section = |text| toml::from_str::<PeerSection>(text).expect("parses");
        for text in ["user = 'no-such-user-x'\nrole = 'operator'", "group = 'no-such-group'\nrole = 'agent'"]
        {
            Peers::from_config(&[section(text)]).expect_err(text);
        }
    }
}
