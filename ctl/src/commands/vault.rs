//! `backupctl vault init`.
//!
//! Does not own: what a vault is. The coordinator makes it, so that it belongs to the user who will write to it; in
//! embedded mode that is who calls.

use packhorse_model::{Exit, Problem};
use packhorse_proto::v1::InitVaultRequest;
use serde_json::json;

use crate::{
    args::{Common, VaultArgs, VaultCommand},
    render,
    session::{Session, Wanted, only_embedded},
};

/// Makes a vault.
pub async fn run(common: &Common, args: &VaultArgs) -> Result<Exit, Problem> {
    let VaultCommand::Init { group } = &args.command;
    if group.is_some() && common.coordinator_in_force().is_some() {
        return Err(only_embedded("--group"));
    }
    let session = Session::start(common, &[], Wanted::NewVault { group: group.as_deref() }).await?;
    let made = session.answer(session.client().init_vault(InitVaultRequest {})).await;
    let exit = made.map(|answer| {
        let vault = answer.into_inner().vault.unwrap_or_default();
        if common.json {
            render::json(&json!({ "vault": vault.url, "vault_id": vault.id }));
        } else {
            render::text(&format!("made vault {} with ID {}", vault.url, vault.id));
            render::note(&format!(
                "to refuse any other vault in its place, add to [vault] of every configuration: vault_id = \"{}\"",
                vault.id
            ));
        }
        Exit::Complete
    });
    session.close(exit).await
}
