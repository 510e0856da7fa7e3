//! Pack indices for the full steps of a vault, whether or not its writer made them: repositories of tests are small.
//!
//! Does not own: what a reader makes of them. Everything that names a changed object is written anew with its digest.

use std::{fs, path::Path};

use packhorse_testkit::{hermetic_command, run_checked};
use packhorse_vault::{CatalogueReader, CatalogueWriter, Manifest, ObjectKey, RunAttempt, digest_of, open};
use serde_json::Value;

use super::REPOSITORIES;

fn key(path: &str) -> ObjectKey {
    ObjectKey::from_stored(path).expect("a key")
}

/// Adds an index of the first step of each repository to the backup.
pub fn add(vault: &Path, id: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let catalogue = key(&format!("backups/{id}/repositories/default.jsonl.zst"));
    let file = vault.join(catalogue.as_str());
    let lines = CatalogueReader::from_bytes(fs::read(&file).expect("read").into(), catalogue.as_str());
    let mut lines: Vec<_> = lines.expect("a catalogue").map(|line| line.expect("a line")).collect();
    assert_eq!(lines.len(), REPOSITORIES.len());
    for line in &mut lines {
        let manifest = key(line.manifest.as_ref().expect("has a manifest"));
        line.manifest_sha256 = Some(add_to_manifest(vault, &manifest));
    }
    fs::remove_file(&file).expect("remove the catalogue");
    let opened = open(&packhorse_model::VaultSettings::new(format!("file://{}", vault.display())));
    let attempt = RunAttempt::first(id.parse().expect("an ID"));
    let target = ObjectKey::catalogue(&attempt, &"default".parse().expect("a name"));
    let written = std::thread::scope(|scope| {
        let write = || {
            let _inside = runtime.enter();
            let mut out = CatalogueWriter::create(&opened.expect("opened"), target).expect("create");
            lines.iter().for_each(|line| out.push(line).expect("write"));
            out.finish().expect("finish")
        };
        scope.spawn(write).join().expect("no panic")
    });
    let digest = serde_json::to_value(&written).expect("a digest");
    seal(vault, id, |report| report["storages"][0]["catalogue"] = digest);
}

fn add_to_manifest(vault: &Path, manifest: &ObjectKey) -> packhorse_model::Sha256Hex {
    let file = vault.join(manifest.as_str());
    let mut parsed = Manifest::parse(&fs::read(&file).expect("read manifest"), manifest).expect("a manifest");
    let bundle = parsed.steps[0].bundle_path.clone();
    let index = bundle.replace(".bundle", ".idx");
    let bytes = index_of(&fs::read(vault.join(&bundle)).expect("read bundle"));
    fs::write(vault.join(&index), &bytes).expect("write index");
    let table = parsed.packhorse.as_mut().expect("our table");
    table.objects.retain(|object| object.path != index);
    table.objects.push(digest_of(&key(&index), &bytes));
    let text = parsed.to_toml();
    fs::write(&file, &text).expect("write manifest");
    digest_of(manifest, text.as_bytes()).sha256
}

/// The index of the pack in a bundle, as git makes it.
fn index_of(bundle: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (pack, index) = (folder.path().join("x.pack"), folder.path().join("x.idx"));
    let header = bundle.windows(2).position(|pair| pair == b"\n\n").expect("a header ends") + 2;
    fs::write(&pack, &bundle[header..]).expect("write pack");
    run_checked(hermetic_command("git").args(["index-pack", "-o"]).arg(&index).arg(&pack));
    fs::read(index).expect("read index")
}

/// Changes the report, and has the commit record name what it is then.
fn seal(vault: &Path, id: &str, change: impl FnOnce(&mut Value)) {
    let (report, record) =
        (format!("backups/{id}/report.json"), format!("backups/{id}/backup_information.json"));
    let read = |path: &str| -> Value {
        serde_json::from_slice(&fs::read(vault.join(path)).expect("read")).expect("JSON")
    };
    let mut value = read(&report);
    change(&mut value);
    let bytes = serde_json::to_vec_pretty(&value).expect("JSON");
    let digest = digest_of(&key(&report), &bytes);
    fs::write(vault.join(&report), bytes).expect("write report");
    let mut value = read(&record);
    value["report_sha256"] = digest.sha256.as_str().into();
    value["report_size"] = digest.size.into();
    fs::write(vault.join(&record), serde_json::to_vec_pretty(&value).expect("JSON")).expect("write record");
}
