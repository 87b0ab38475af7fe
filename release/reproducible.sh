#!/usr/bin/env bash
# Builds the static binary twice, in two folders, and compares the results. The same sources must give the same bytes.
#
#   release/reproducible.sh [TARGET]
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-x86_64-unknown-linux-musl}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for copy in one another/folder; do
  mkdir -p "$work/$copy"
  git ls-files -z | xargs -0 cp --parents -t "$work/$copy"
  (cd "$work/$copy" && CARGO_TERM_QUIET=true CARGO_TARGET_DIR="$work/$copy/target" make --no-print-directory static TARGET="$target" >/dev/null)
done
first=$(sha256sum <"$work/one/target/$target/release/sidecar-injector")
second=$(sha256sum <"$work/another/folder/target/$target/release/sidecar-injector")
echo "${first%% *}  one"
echo "${second%% *}  another/folder"
[ "$first" = "$second" ] || { echo "the two builds differ" >&2; exit 1; }
