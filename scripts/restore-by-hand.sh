#!/usr/bin/env bash
# Restores one repository from a file:// vault without Packhorse: restore-by-hand.sh VAULT ID STORAGE REPOSITORY TARGET
#
# VAULT is a folder (copy an object store's to one first), TARGET an absolute path that does not exist. Every file is
# proven by the digest in the file before it. For databases and directories, report.json has the digests; then
#   gzip -dc VAULT/backups/ID/db/database.sql.gz | psql --set ON_ERROR_STOP=1 DATABASE
#   tar -xzpf VAULT/backups/ID/uploads.tar.gz -C FOLDER
set -euo pipefail
cd "$1" && backup=backups/$2 storage=$3 repository=$4 target=$5
prove() { sha256sum --check --quiet - <<<"$1  $2"; }

prove "$(jq -r .report_sha256 "$backup/backup_information.json")" "$backup/report.json"
read -r digest catalogue < <(jq -r --arg storage "$storage" \
    '.storages[] | select(.storage == $storage).catalogue | "\(.sha256) \(.path)"' "$backup/report.json")
prove "$digest" "$catalogue"
IFS=$'\t' read -r digest manifest < <(zstd -dcq "$catalogue" | jq -r --arg path "$repository" \
    'select(.path == $path) | [.manifest_sha256, .manifest] | @tsv')
prove "$digest" "$manifest"

# The manifest is TOML, one key a line; [[packhorse.objects]] has a path, a size and a sha256 for each file.
value() { sed -En "s/^$1 = ['\"](.*)['\"]\$/\1/p" "$manifest"; }
paste <(sed '1,/objects\]\]/d' "$manifest" | sed -n "s/^sha256 = '\(.*\)'/\1/p") \
    <(sed '1,/objects\]\]/d' "$manifest" | sed -En "s/^path = ['\"](.*)['\"]\$/\1/p") |
    while IFS=$'\t' read -r digest path; do prove "$digest" "$path"; done

git init --quiet --bare --object-format="$(value object_format)" "$target"
git() { command git --git-dir="$target" "$@"; }
refs=$(value ref_path | tail -n 1) && hooks=${refs%.refs}.custom_hooks.tar
value bundle_path | while read -r bundle; do
    [ ! -e "$bundle" ] || git fetch --quiet --no-write-fetch-head "$bundle" '+refs/*:refs/*'
done
git for-each-ref --format='delete %(refname)' | git update-ref --stdin
sed -n 's/^\([0-9a-f]*\) \(refs\/.*\)/create \2 \1/p' "$refs" | git update-ref --stdin
paste <(value name) <(value target) | while IFS=$'\t' read -r name to; do git symbolic-ref "$name" "$to"; done
head=$(value head_reference)
if [ "$head" ]; then git symbolic-ref HEAD "$head"; else git update-ref --no-deref HEAD "$(sed -n 's/ HEAD$//p' "$refs")"; fi
[ ! -e "$hooks" ] || tar -xpf "$hooks" -C "$target"
