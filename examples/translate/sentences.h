// Pairs of English and German sentences: Multi30k's, or those that a small grammar makes in both languages.
#pragma once

#include <string>

#include "tenrec/data/corpus.h"

namespace examples {

struct Sentences {
  std::string name;
  tenrec::ParallelCorpus train, validation, test;
};

// The files train, val and test_2016_flickr, each .en and .de, plain or .gz. IOError naming the one that is missing.
Sentences read_multi30k(const std::string& folder);
// Always the same. Subjects agree with their verbs, articles and adjectives with their nouns.
Sentences grammar_pairs(int64_t train_count = 6000);

}  // namespace examples
