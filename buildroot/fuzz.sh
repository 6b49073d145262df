#!/usr/bin/env bash
# Runs every fuzz target for the time given (3s, 1m). Usage: buildroot/fuzz.sh TIME [REGEXP of targets]
# Inputs are made smaller for a second at most: it is no search, and would use up a short run.
set -euo pipefail
cd "$(dirname "$0")/.."
found=0
while read -r file; do
  package=./$(dirname "$file")
  for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file" | grep -E "${2:-.}" || true); do
    found=$((found + 1))
    printf 'fuzz %s %s\n' "$package" "$target"
    # The go command's own clock may run out inside the fuzzing engine, which then reports "context deadline exceeded" as
    # a failure. That is no finding: one always comes with the input that made it.
    log=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 1s "$package" 2>&1) ||
      { grep -q 'context deadline exceeded' <<<"$log" && ! grep -qE 'Failing input|panic|testdata/fuzz' <<<"$log"; } ||
      { printf '%s\n' "$log"; exit 1; }
    printf '%s\n' "$log" | grep -E 'execs' | tail -n 1 || true
  done
done < <(find audio board cmd ota provisioning rtc -name '*_test.go' -not -path '*/node_modules/*' 2>/dev/null | sort)
[ "$found" -gt 0 ] || { echo "fuzz: no target found" >&2; exit 1; }
echo "fuzz: $found targets, nothing found"
