#!/usr/bin/env bash
# A backup, an increment and two restores on this machine, each proven with git alone; `make quickstart` runs it.
#
# Works in a temporary folder and leaves nothing behind. Set PACKHORSE_QUICKSTART_REPO to a bare repository of your own
# to have a clone of it backed up too; the repository itself is only read.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly REAL=${PACKHORSE_QUICKSTART_REPO:-}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/packhorse-quickstart.XXXXXX")
readonly WORK STORAGE=$WORK/storage
trap 'rm -rf "$WORK"' EXIT

# Nobody's settings, so that the run is the same on every machine.
unset PACKHORSE_CONFIG PACKHORSE_COORDINATOR PACKHORSE_GIT "${!GIT_@}"
export PACKHORSE_VAULT=file://$WORK/vault
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 LC_ALL=C
export GIT_COMMITTER_NAME=Quickstart GIT_COMMITTER_EMAIL=quickstart@example.com

step=0
heading() { step=$((step + 1)) && printf '\n%s. %s\n' "$step" "$*"; }
fail() { printf '\nquickstart: FAILED: %s\n' "$*" >&2 && exit 1; }
indented() { sed 's/^/   /'; }
backupctl() { target/debug/backupctl --quiet --embedded "$@" || fail "backupctl $1 ended with exit code $?"; }

# Every repository below a folder, by its path.
repositories() { (cd "$1" && find . -name '*.git' -prune -printf '%P\n' | sort); }

# commits REPOSITORY BRANCH FROM COUNT adds commits to a branch, which starts at FROM where it is new.
commits() {
    local number from=$3
    for ((number = 1; number <= $4; number++)); do
        printf 'commit refs/heads/%s\ncommitter %s <%s> %s +0000\n' "$2" "$GIT_COMMITTER_NAME" \
            "$GIT_COMMITTER_EMAIL" $((1700000000 + number * 3600))
        printf 'data <<.\nChange %s of %s\n.\n' "$number" "$2"
        [ -z "$from" ] || printf 'from %s^0\n' "$from"
        printf 'M 100644 inline src/%s.txt\ndata <<.\n%s\n.\n' $((number % 7)) "$(seq "$number" $((number + 60)))"
        from=
    done | git -C "$STORAGE/$1" fast-import --quiet
}

# A new bare repository with history on two branches, tags and a hook.
new_repository() {
    git init --quiet --bare "$STORAGE/$1"
    commits "$1" main '' "$2"
    commits "$1" feature refs/heads/main 5
    git -C "$STORAGE/$1" symbolic-ref HEAD refs/heads/main
    git -C "$STORAGE/$1" tag light feature
    git -C "$STORAGE/$1" tag --annotate --message 'First release' v1.0 main
    mkdir "$STORAGE/$1/custom_hooks"
    printf '#!/bin/sh\nexit 0\n' >"$STORAGE/$1/custom_hooks/pre-receive"
    chmod +x "$STORAGE/$1/custom_hooks/pre-receive"
}

# What git says of all repositories below a folder: HEAD and every ref; and what their hooks hold.
state() {
    local repo
    for repo in $(repositories "$1"); do
        printf '%s HEAD %s\n' "$repo" \
            "$(git -C "$1/$repo" symbolic-ref --quiet HEAD || git -C "$1/$repo" rev-parse HEAD)"
        git -C "$1/$repo" for-each-ref --format="$repo %(refname) %(objecttype) %(objectname) %(symref)"
        [ ! -d "$1/$repo/custom_hooks" ] ||
            (cd "$1/$repo" && find custom_hooks -type f -printf "$repo %p %m " -exec cksum {} \; | sort)
    done
}

# count WORD FILE tells how many lines of a state have it.
count() { grep -c -- "$1" "$2" || true; }

# prove BACKUP STATE restores a backup into a fresh folder and compares it with what git said when it was made.
prove() {
    local target repo
    target=$(mktemp -d "$WORK/restored.XXXXXX")
    backupctl restore "$1" --storage "default=$target" | indented
    state "$target" >"$WORK/restored"
    diff -u "$2" "$WORK/restored" >&2 || fail "what was restored from $1 differs from what was backed up"
    for repo in $(repositories "$target"); do
        git -C "$target/$repo" fsck --full --no-dangling >"$WORK/fsck" 2>&1 ||
            { cat "$WORK/fsck" >&2 && fail "git fsck of $repo, restored from $1"; }
    done
    printf '   git for-each-ref: the same %s refs; HEAD and hooks too; git fsck --full: %s repositories sound\n' \
        "$(count ' refs/' "$2")" "$(count ' HEAD ' "$2")"
}

heading "Building Packhorse (the first time takes some minutes)"
# Exactly what `make test` builds, so that neither has to build again after the other.
[ -n "${PACKHORSE_QUICKSTART_BUILT:-}" ] || cargo build --quiet --workspace --bins
printf '   %s, with %s\n' "$(target/debug/backupctl --version)" "$(git --version)"

heading "Making repositories with git"
mkdir "$STORAGE"
new_repository group/website.git 40
new_repository group/tools.git 25
new_repository docs/handbook.git 10
git init --quiet --bare "$STORAGE/docs/empty.git"
[ -z "$REAL" ] || git clone --quiet --mirror "$REAL" "$STORAGE/real.git" || fail "clone $REAL"
state "$STORAGE" >"$WORK/first"
printf '   %s repositories, %s refs, %s hooks%s\n' "$(count ' HEAD ' "$WORK/first")" \
    "$(count ' refs/' "$WORK/first")" "$(count ' custom_hooks/' "$WORK/first")" "${REAL:+; real.git is a clone of $REAL}"

heading "First backup, full, into a new vault: backupctl create --init"
backupctl create --init --storage "default=$STORAGE" | indented

heading "Working on: new commits, a branch and a tag, a force-push, a deleted branch, a changed hook"
commits group/website.git main refs/heads/main 12
commits group/website.git hotfix refs/tags/v1.0 3
git -C "$STORAGE/group/website.git" tag --annotate --message 'Second release' v2.0 main
git -C "$STORAGE/group/tools.git" update-ref refs/heads/main refs/heads/main~4
git -C "$STORAGE/group/tools.git" branch --quiet -D feature
printf 'exit 1\n' >>"$STORAGE/group/tools.git/custom_hooks/pre-receive"
if [ -n "$REAL" ]; then
    commits real.git quickstart "$(git -C "$STORAGE/real.git" rev-parse --quiet --verify HEAD || true)" 3
fi
state "$STORAGE" >"$WORK/second"

heading "Second backup, an increment: backupctl create"
backupctl create --storage "default=$STORAGE" | indented

heading "What the vault holds: backupctl list"
backupctl list | indented

heading "Restoring the latest backup into an empty folder, and comparing with git"
prove latest "$WORK/second"

heading "Restoring the first backup, and comparing with git"
prove latest~1 "$WORK/first"

printf '\nEverything is as it was. Next: target/debug/backupctl create --help; README.md; make test; make bench\n'
