#!/usr/bin/env python3
"""gensim's word2vec on the tokens and with the settings of examples/word2vec, at one thread; one JSON line a seed.

    pip install gensim && bench/peers/gensim_word2vec.py dickens.txt [EPOCHS [SEEDS]]
"""
import json
import pathlib
import re
import sys
import time

from gensim.models import Word2Vec
from scipy.stats import spearmanr

PIECE = 1000  # words of a sentence, as PairSource::kPiece


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    words = [w.decode().lower() for w in re.findall(rb"[A-Za-z]+", path.read_bytes())]
    counts: dict[str, int] = {}
    for w in words:
        counts[w] = counts.get(w, 0) + 1
    words = [w for w in words if counts[w] >= 5]
    sentences = [words[i:i + PIECE] for i in range(0, len(words), PIECE)]
    pairs = [line.split() for line in (path.parent / "wordvec" / "EN-WS-353-ALL.txt").read_text().splitlines()]
    for seed in range(1, seeds + 1):
        model = Word2Vec(vector_size=100, window=5, min_count=5, workers=1, sg=1, negative=5, sample=1e-3, seed=seed)
        model.build_vocab(sentences)
        start = time.time()
        model.train(sentences, total_examples=len(sentences), epochs=epochs)
        seconds = time.time() - start
        known = [(model.wv.similarity(a.lower(), b.lower()), float(s)) for a, b, s in pairs
                 if a.lower() in model.wv and b.lower() in model.wv]
        print(json.dumps({"peer": "gensim", "seed": seed, "wordsim353": spearmanr(*zip(*known))[0], "pairs": len(known),
                          "seconds": seconds, "words_per_second": epochs * len(words) / seconds}), flush=True)


if __name__ == "__main__":
    main()
