#!/usr/bin/env bash
# Compares the instructions and allocations per review with benches/baseline.txt. Fails if one is more than 3 % above it.
# `benches/check.sh --update` writes the baseline; give the reason in the commit.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=3
measured=$(benches/instructions.sh)
if [ "${1:-}" = --update ]; then
  printf '%s\n' "$measured" > benches/baseline.txt
  printf '%s\n' "$measured"
  exit
fi
printf '%s\n' "$measured" | awk -v limit="$limit" '
  # A row ends with its two numbers; before them stands the name of the review.
  function name_of() { text = $0; sub(/[ \t]+[0-9]+[ \t]+[0-9]+[ \t]*$/, "", text); return text }
  FNR == 1 { next }
  NR == FNR { instructions[name_of()] = $(NF - 1); allocations[name_of()] = $NF; next }
  {
    name = name_of()
    if (!(name in instructions)) { printf "%-34s is not in benches/baseline.txt\n", name; failed = 1; next }
    i = 100 * ($(NF - 1) / instructions[name] - 1)
    a = 100 * ($NF / allocations[name] - 1)
    verdict = (i > limit || a > limit) ? "FAILED" : "ok"
    if (verdict == "FAILED") failed = 1
    printf "%-34s instructions %9d (%+.1f %%)  allocations %4d (%+.1f %%)  %s\n", name, $(NF - 1), i, $NF, a, verdict
    delete instructions[name]
  }
  END {
    for (name in instructions) { printf "%-34s was not measured\n", name; failed = 1 }
    if (failed) { print "more than " limit " % above benches/baseline.txt; make bench-baseline writes it, give the reason in the commit" }
    exit failed
  }' benches/baseline.txt -
