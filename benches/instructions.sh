#!/usr/bin/env bash
# Prints the instructions and allocations per review, counted by valgrind. The numbers are exact for one binary and do
# not depend on the load of the machine. Each number is the difference between 11 reviews and 1 review, divided by 10.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is required: apt-get install valgrind" >&2; exit 1; }
binary=$(cargo bench --locked --no-default-features --no-run --bench instructions --message-format=json 2>/dev/null |
  sed -n 's/.*"executable":"\([^"]*instructions[^"]*\)".*/\1/p' | tail -1)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
instructions() { valgrind --tool=callgrind --callgrind-out-file="$folder/out" "$binary" "$1" "$2" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'; }
allocations() { valgrind "$binary" "$1" "$2" 2>&1 | sed -n 's/.*total heap usage: \([0-9,]*\) allocs.*/\1/p' | tr -d ,; }
printf '%-34s %14s %12s\n' review instructions allocations
"$binary" | while read -r number name; do
  i=$((($(instructions "$number" 11) - $(instructions "$number" 1)) / 10))
  a=$((($(allocations "$number" 11) - $(allocations "$number" 1)) / 10))
  printf '%-34s %14d %12d\n' "$name" "$i" "$a"
done
