#!/usr/bin/env bash
# The ratios of build/bench/report.json as one flat object, for tools/accept.txt; rss: the largest share of the peer's
# peak memory that a training run took.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python3 -c 'import json
rows = json.load(open("build/bench/report.json"))["rows"]
ratios = {row["workload"]: row["ratio"] for row in rows}
print(json.dumps({**ratios, "rss": max(row["ours_rss_mb"] / row["peer_rss_mb"] for row in rows)}))'
