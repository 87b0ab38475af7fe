#!/usr/bin/env bash
# Prepares a release: sets the version in the crate, the lock files, the chart, the manifests, the expected results of
# the tests and the changelog. Does not commit.
#
#   release/bump.sh VERSION        for example 0.2.0; HELM is the path of Helm 4
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: release/bump.sh VERSION}
helm=${HELM:-helm}
if ! [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
  echo "release: $version is not a valid version: write three numbers, such as 0.2.0" >&2
  exit 2
fi
# The updates of the lock files below are offline, so that they change no other version.
for manifest in Cargo.toml fuzz/Cargo.toml; do cargo fetch --locked --quiet --manifest-path "$manifest"; done
old=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
if ! grep -q '^## Unreleased$' CHANGELOG.md || [ -z "$(sed -n '/^## Unreleased$/,/^## [0-9]/p' CHANGELOG.md | grep '^- ')" ]; then
  echo "release: CHANGELOG.md has no entries under \"## Unreleased\"" >&2
  exit 1
fi

replace() { # file pattern replacement
  sed "s/$2/$3/" "$1" >"$1.new" && mv "$1.new" "$1"
}
replace Cargo.toml "^version = \"${old//./\\.}\"$" "version = \"$version\""
replace charts/sidecar-injector/Chart.yaml '^version: .*$' "version: $version"
replace charts/sidecar-injector/Chart.yaml '^appVersion: .*$' "appVersion: \"$version\""
sed "s/^## Unreleased$/## Unreleased\n\n## $version - $(date -u +%F)/" CHANGELOG.md >CHANGELOG.md.new && mv CHANGELOG.md.new CHANGELOG.md
cargo update --quiet --offline --workspace
(cd fuzz && cargo update --quiet --offline --workspace)
make --no-print-directory --silent manifests HELM="$helm"
make --no-print-directory --silent golden
release/check.sh "$version"
echo "release: $old -> $version. Check git diff, then commit and create the tag v$version"
