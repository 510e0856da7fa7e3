//! The configuration files of a town: an agent, two coordinators of which one is meant, a call for itself, and restores.
//!
//! Does not own: the processes that read them (`town`). Restores have a folder and a database of their own, so that
//! nothing that is backed up can be taken for what came back.

use super::{forge::Database, town::Town};

impl Town {
    /// Writes the files of everything that makes backups.
    pub fn configure(&self) {
        let (vault, (storages, others)) = (self.vault_section(), self.parts("", self.database.as_ref()));
        let agent = format!("unix://{}", self.site.path("agent.sock").display());
        let manifests = "gitaly_manifests = 'latest'\nindex_from = '0'\n";
        let section =
            format!("[agent_service]\nlisten = '{agent}'\ngrace = '1s'\nrejoin_within = '0s'\n{manifests}");
        self.site.write("agent.toml", &format!("{vault}{section}{storages}"));
        for number in [1, 2] {
            let listen = self.address(number);
            let section =
                format!("[coordinator]\nlisten = '{listen}'\ngrace = '1s'\n[[agent]]\naddress = '{agent}'\n");
            self.site.write(&format!("coordinator-{number}.toml"), &format!("{vault}{section}{others}"));
        }
        self.site.write("embedded.toml", &format!("{vault}[agent_service]\n{manifests}{storages}{others}"));
    }

    /// The parts of a configuration that name the storages, and everything else that is backed up.
    fn parts(&self, prefix: &str, database: Option<&Database>) -> (String, String) {
        let path = |name: &str| self.site.path(&format!("{prefix}{name}")).display().to_string();
        let storage = |name| format!("[[storage]]\nname = '{name}'\npath = '{}'\n", path(name));
        let directory = format!("[[directory]]\nname = 'blobs'\npath = '{}'\n", path("blobs"));
        let database = database.map(Database::section).unwrap_or_default();
        (storage("one") + &storage("two"), directory + &database)
    }

    /// The part of a configuration that names the vault.
    fn vault_section(&self) -> String {
        format!("{}retry_budget = '20s'\n", self.server.vault_section("v"))
    }

    /// Where a coordinator listens.
    pub fn address(&self, number: u32) -> String {
        format!("unix://{}", self.site.path(&format!("coordinator-{number}.sock")).display())
    }

    /// Writes the file of a restore into a folder, and into a database.
    pub fn configure_restore(&self, database: Option<&Database>) {
        let (storages, others) = self.parts("back/", database);
        self.site.write("back.toml", &format!("{}{storages}{others}", self.vault_section()));
    }
}
