//! Configurations that change under running daemons.
//!
//! Does not own: which keys can. A new one counts from the next run on; one that is wrong changes nothing.

use packhorse_testkit::Signal;

use super::{
    super::site::{json, text},
    Host, SOON,
};

fn storages(host: &Host) -> Vec<String> {
    let summary = json(&host.ctl(["create", "--json"]).run().expect_success());
    summary["storages"].as_array().expect("storages").iter().map(|s| text(&s["storage"])).collect()
}

#[test]
fn a_storage_that_is_added_is_in_the_next_backup() {
    let mut host = Host::start();
    assert_eq!(storages(&host), ["default"]);
    host.site.repo("more/new.git").fill("main", 3);
    host.configure_agent(&host.site.storage_section("more", "more"));
    host.agent().signal(Signal::HUP);
    let line = host.agent().wait_for_line("configuration reloaded", SOON);
    assert!(line.contains("applied=\"storage\"") || line.contains("the file changed"), "{line}");
    host.manager.wait_for("STATUS=serving 2 storages: default, more");
    assert_eq!(storages(&host), ["default", "more"]);
    host.stop(&[]);
}

#[test]
fn a_wrong_file_changes_nothing_and_its_repair_is_noticed_without_a_signal() {
    let mut host = Host::start();
    let broken = "[[storage]]\nname = 'more'\nfolder = '/unknown/key'\n";
    host.configure_agent(broken);
    host.agent().signal(Signal::HUP);
    let line = host.agent().wait_for_line("the earlier configuration stays in force", SOON);
    let file = host.site.path("agent.toml").display().to_string();
    assert!(line.contains("ERROR") && line.contains(&file) && line.contains("`folder`"), "{line}");
    host.manager.wait_for("STATUS=the earlier configuration is in force");
    assert_eq!(storages(&host), ["default"]);

    host.configure_agent(&host.site.storage_section("more", "more"));
    host.agent().wait_for_line("the file changed", SOON);
    host.manager.wait_for("STATUS=serving 2 storages");
    assert_eq!(storages(&host), ["default", "more"]);
    host.stop(&["the earlier configuration stays in force"]);
}

#[test]
fn what_needs_a_restart_is_named_and_not_applied() {
    let mut host = Host::start();
    let config = std::fs::read_to_string(host.site.path("coordinator.toml")).expect("read the configuration");
    let config = config.replace(&host.site.vault_url(), &format!("{}-2", host.site.vault_url()));
    host.replace("coordinator.toml", &(config + "[run]\ninstance_version = '9.9.9'\n"));
    host.coordinator().signal(Signal::HUP);
    let line = host.coordinator().wait_for_line("configuration reloaded in part", SOON);
    assert!(line.contains("run.instance_version") && line.contains("needs_restart=\"vault.url\""), "{line}");
    let summary = json(&host.ctl(["create", "--json"]).run().expect_success());
    assert!(text(&summary["backup_id"]).ends_with("_9.9.9"), "{summary:#}");
    assert!(host.site.path("vault/backups").is_dir(), "the vault is the one that it started with");

    // The socket keeps its mode, so that who gets a role now is let in after a restart only.
    host.configure_coordinator("[[peer]]\nuid = 12345\nrole = 'observer'\n");
    host.coordinator().signal(Signal::HUP);
    host.coordinator().wait_for_line("vault.url, peer\"", SOON);

    let allowed = ["configuration reloaded in part", "the earlier configuration stays in force"];
    host.configure_coordinator("[[schedule]]\nname = 'nightly'\ncron = '30 2 31 2 *'\n");
    host.coordinator().signal(Signal::HUP);
    let line = host.coordinator().wait_for_line(allowed[1], SOON);
    assert!(line.contains("nightly") && line.contains("no such day"), "{line}");
    host.configure_coordinator("[[schedule]]\nname = 'nightly'\ncron = '30 2 * * *'\n");
    host.coordinator().signal(Signal::HUP);
    host.manager.wait_for("schedules: nightly");
    host.stop(&allowed);
}
