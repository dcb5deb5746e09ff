#!/usr/bin/env python3
"""gensim's word2vec on the tokens and with the settings of examples/word2vec, at one thread: a JSON line a seed, then one
with their means.

    pip install gensim scipy && tools/word2vec_peer.py dickens.txt [EPOCHS [SEEDS]]
"""
import json
import pathlib
import re
import sys
import time

from gensim.models import Word2Vec
from scipy.stats import spearmanr

PIECE = 1000  # words of a sentence, as PairSource::kPiece


def tokens(path: pathlib.Path, min_count: int) -> list[str]:
    """As read_words of examples/word2vec/words.h."""
    words = [w.decode().lower() for w in re.findall(rb"[A-Za-z]+", path.read_bytes())]
    counts: dict[str, int] = {}
    for w in words:
        counts[w] = counts.get(w, 0) + 1
    return [w for w in words if counts[w] >= min_count]


def train(sentences: list[list[str]], epochs: int, seed: int) -> tuple[Word2Vec, float]:
    model = Word2Vec(vector_size=100, window=5, min_count=5, workers=1, sg=1, negative=5, sample=1e-3, seed=seed)
    model.build_vocab(sentences)
    start = time.time()
    model.train(sentences, total_examples=len(sentences), epochs=epochs)
    return model, time.time() - start


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    words = tokens(path, 5)
    sentences = [words[i:i + PIECE] for i in range(0, len(words), PIECE)]
    pairs = [line.split() for line in (path.parent / "wordvec" / "EN-WS-353-ALL.txt").read_text().splitlines()]
    agreement, speed = [], []
    for seed in range(1, seeds + 1):
        model, seconds = train(sentences, epochs, seed)
        known = [(model.wv.similarity(a.lower(), b.lower()), float(s)) for a, b, s in pairs
                 if a.lower() in model.wv and b.lower() in model.wv]
        agreement.append(float(spearmanr(*zip(*known))[0]))
        speed.append(epochs * len(words) / seconds)
        print(json.dumps({"peer": "gensim", "seed": seed, "wordsim353": agreement[-1], "pairs": len(known),
                          "seconds": seconds, "words_per_second": speed[-1]}), flush=True)
    print(json.dumps({"peer": "gensim", "seeds": seeds, "epochs": epochs, "wordsim353": sum(agreement) / seeds,
                      "words_per_second": max(speed)}))


if __name__ == "__main__":
    main()
