//! What a restored database is to be like, as far as this server allows.
//!
//! Does not own: giving it to the database (`swap`). A role that is missing here ends the restore before it begins, or is a
//! failure by name; a tablespace, owner or locale that cannot be had gives way to what the server has, and is remarked.

use packhorse_model::{DatabaseAttributes, ErrorKind, Problem};
use tokio_util::sync::CancellationToken;

use super::{
    attributes,
    connection::Connection,
    failure,
    psql::{self, literal},
    replay::Fault,
    restore::Job,
    target::Target,
};

const WHAT: &str = "restore database";

/// The attributes, and what of them cannot be had.
pub(super) struct Wanted {
    /// What the database gets.
    pub(super) attributes: DatabaseAttributes,
    /// What is missing.
    pub(super) faults: Vec<Fault>,
    /// What is otherwise than it was.
    pub(super) remarks: Vec<Problem>,
}

impl Wanted {
    /// What the backup recorded, or what the target is like.
    pub(super) async fn find(
        job: &Job<'_>,
        target: &Target,
        maintenance: &Connection,
    ) -> Result<Self, Problem> {
        let existing = target.existing.as_ref().map(|existing| &existing.attributes);
        let recorded = job
            .summary
            .attributes
            .as_ref()
            .or(existing)
            .ok_or_else(|| failure::lost(job.connection, WHAT))?;
        let roles = attributes::roles(recorded);
        let (missing, has_tablespace, has_owner) = ask(maintenance, recorded, &roles, job.cancel).await?;
        if !missing.is_empty() && !job.options.continue_on_error {
            return Err(failure::problem(job.connection, ErrorKind::NotFound, WHAT)
                .answered(format!("the server lacks roles that the database names: {}", missing.join(", ")))
                .next("create the roles, or use --continue-on-error to restore without them"));
        }
        let faults = missing.iter().map(|role| Fault {
            object: "attributes of the database".into(),
            said: format!("role {role:?} does not exist"),
            of_rows: false,
        });
        let mut wanted = Self {
            faults: faults.collect(),
            attributes: attributes::without(recorded.clone(), &missing),
            remarks: Vec::new(),
        };
        if !has_owner {
            wanted.give_to(&target.server.user, job.connection);
        }
        if !has_tablespace {
            let lacks = format!("the server has no tablespace {}", wanted.attributes.tablespace);
            wanted.remark(job.connection, &format!("{lacks}; the database is in pg_default"));
            wanted.attributes.tablespace = "pg_default".into();
        }
        Ok(wanted)
    }

    /// Takes encoding and locale of what is there, because the server does not know the recorded ones.
    pub(super) fn take_locale(&mut self, of: &DatabaseAttributes, connection: &Connection) {
        let lacks = format!("the server does not know the locale {}", self.attributes.collate);
        self.remark(
            connection,
            &format!("{lacks}; the database keeps the one that it had here, {}", of.collate),
        );
        let DatabaseAttributes { encoding, collate, ctype, provider, locale, icu_rules, .. } = of.clone();
        let attributes = std::mem::take(&mut self.attributes);
        self.attributes =
            DatabaseAttributes { encoding, collate, ctype, provider, locale, icu_rules, ..attributes };
    }

    fn give_to(&mut self, user: &str, connection: &Connection) {
        let before = std::mem::replace(&mut self.attributes.owner, user.to_owned());
        for grant in self.attributes.grants.iter_mut().flatten() {
            if grant.role.as_ref() == Some(&before) {
                grant.role = Some(user.to_owned());
            }
        }
        self.remark(
            connection,
            &format!("the database is owned by {user}, which may not give it to {before}"),
        );
    }

    fn remark(&mut self, connection: &Connection, said: &str) {
        let problem = failure::problem(connection, ErrorKind::NotFound, "restore attributes of database");
        self.remarks.push(problem.answered(said));
    }
}

async fn ask(
    maintenance: &Connection,
    recorded: &DatabaseAttributes,
    roles: &[String],
    cancel: &CancellationToken,
) -> Result<(Vec<String>, bool, bool), Problem> {
    let names: Vec<String> = roles.iter().map(|role| literal(role)).collect();
    let sql = format!(
        "SELECT count(*) FROM pg_tablespace WHERE spcname = {};\n\
         SELECT count(*) FROM pg_roles WHERE rolname = {} AND pg_has_role(oid, 'USAGE');\n\
         SELECT role FROM unnest(ARRAY[{}]::name[]) role \
         WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role);\n",
        literal(&recorded.tablespace),
        literal(&recorded.owner),
        names.join(", "),
    );
    let answer = psql::ask(maintenance, "look for roles", sql, cancel).await?;
    match answer.as_slice() {
        [tablespaces, owners, missing @ ..] => Ok((missing.to_vec(), tablespaces == "1", owners == "1")),
        _ => Err(failure::lost(maintenance, "look for roles")),
    }
}
