#!/usr/bin/env bash
# The word2vec example against gensim on DIR/dickens.txt: three seeds each, at one thread. behind: how far the mean rank
# correlation is below gensim's mean; speed: the best words per second over gensim's best. PYTHON: one that has gensim.
#
#     tools/word2vec.sh DIR
set -euo pipefail
data=$(realpath -- "$1")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
"$python" -c 'import gensim, scipy' || { echo "pip install gensim scipy, and give its PYTHON" >&2; exit 1; }
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
ours=()
for seed in 1 2 3; do
  ours+=("$(./dev run word2vec --data "$data" --seed "$seed" --threads 1 --quiet | tail -n 1)")
done
peer=$("$python" tools/word2vec_peer.py "$data/dickens.txt" 5 3 | tail -n 1)
printf '%s\n' "${ours[@]}" "$peer" >&2
"$python" -c 'import json, sys
*ours, peer = map(json.loads, sys.argv[1:])
mean = sum(run["wordsim353"] for run in ours) / len(ours)
print(json.dumps({"wordsim353": mean, "peer_wordsim353": peer["wordsim353"], "behind": peer["wordsim353"] - mean,
                  "words_per_second": max(run["words_per_second"] for run in ours),
                  "peer_words_per_second": peer["words_per_second"],
                  "speed": max(run["words_per_second"] for run in ours) / peer["words_per_second"]}))' "${ours[@]}" "$peer"
