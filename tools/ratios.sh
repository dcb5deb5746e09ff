#!/usr/bin/env bash
# The ratios of build/bench/report.json as one flat object, for tools/accept.txt; rss: the largest share of the peer's
# peak memory that a training run took; hvp_cost: gradients that a Hessian product takes, beside the peer's.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python3 -c 'import json
rows = {row["workload"]: row for row in json.load(open("build/bench/report.json"))["rows"]}
found = {name: row["ratio"] for name, row in rows.items()}
found["rss"] = max(row["ours_rss_mb"] / row["peer_rss_mb"] for row in rows.values())
if "mlp_hvp" in rows and "mlp_grad" in rows:
    for name, field in (("hvp_cost", "ours_us"), ("hvp_cost_peer", "peer_best_us")):
        found[name] = rows["mlp_hvp"][field] / rows["mlp_grad"][field]
    found["hvp_cost_share"] = found["hvp_cost"] / found["hvp_cost_peer"]
print(json.dumps(found))'
