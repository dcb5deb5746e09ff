#!/usr/bin/env bash
# The ratios of build/bench/report.json as one flat object, for tools/accept.txt.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python3 -c 'import json
print(json.dumps({row["workload"]: row["ratio"] for row in json.load(open("build/bench/report.json"))["rows"]}))'
