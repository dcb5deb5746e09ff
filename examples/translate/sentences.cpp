#include "translate/sentences.h"

#include <array>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/core/philox.h"

namespace examples {

using namespace tenrec;

namespace {

struct Noun {
  const char *english, *plural, *german, *object, *german_plural;  // object: in the accusative
  char gender;                                                     // m, f, n
};
struct Verb {
  const char *english, *german, *german_plural;
};
struct Pair {
  const char *english, *german;
};

constexpr std::array<Noun, 12> kNouns{{{"tenrec", "tenrecs", "Tenrek", "Tenrek", "Tenreks", 'm'},
                                       {"farmer", "farmers", "Bauer", "Bauern", "Bauern", 'm'},
                                       {"bird", "birds", "Vogel", "Vogel", "Vögel", 'm'},
                                       {"king", "kings", "König", "König", "Könige", 'm'},
                                       {"sailor", "sailors", "Matrose", "Matrosen", "Matrosen", 'm'},
                                       {"dog", "dogs", "Hund", "Hund", "Hunde", 'm'},
                                       {"cat", "cats", "Katze", "Katze", "Katzen", 'f'},
                                       {"queen", "queens", "Königin", "Königin", "Königinnen", 'f'},
                                       {"woman", "women", "Frau", "Frau", "Frauen", 'f'},
                                       {"child", "children", "Kind", "Kind", "Kinder", 'n'},
                                       {"horse", "horses", "Pferd", "Pferd", "Pferde", 'n'},
                                       {"sheep", "sheep", "Schaf", "Schaf", "Schafe", 'n'}}};
constexpr std::array<Verb, 6> kTransitive{{{"see", "sieht", "sehen"},
                                           {"hear", "hört", "hören"},
                                           {"paint", "malt", "malen"},
                                           {"know", "kennt", "kennen"},
                                           {"seek", "sucht", "suchen"},
                                           {"love", "liebt", "lieben"}}};
constexpr std::array<Verb, 6> kIntransitive{{{"sleep", "schläft", "schlafen"},
                                             {"sing", "singt", "singen"},
                                             {"wait", "wartet", "warten"},
                                             {"dream", "träumt", "träumen"},
                                             {"jump", "springt", "springen"},
                                             {"laugh", "lacht", "lachen"}}};
constexpr std::array<Pair, 6> kAdjectives{{{"small", "klein"},
                                           {"old", "alt"},
                                           {"young", "jung"},
                                           {"tired", "müd"},
                                           {"clever", "klug"},
                                           {"hungry", "hungrig"}}};
constexpr std::array<Pair, 4> kPlaces{{{"in the garden", "im Garten"},
                                       {"behind the house", "hinter dem Haus"},
                                       {"by the river", "am Fluss"},
                                       {"under the bridge", "unter der Brücke"}}};

class Grammar {
 public:
  explicit Grammar(uint64_t seed) : philox_(seed) {}

  void add_to(ParallelCorpus& corpus) {
    const bool many = draw(2), object = draw(2);
    std::string en, de;
    phrase(many, false, en, de);
    const Verb& verb = object ? pick(kTransitive) : pick(kIntransitive);
    en += concat(" ", verb.english, many ? "" : "s");
    de += concat(" ", many ? verb.german_plural : verb.german);
    if (object) {
      en += " ";
      de += " ";
      phrase(draw(2), true, en, de);
    }
    if (draw(3) == 0) {
      const Pair& place = pick(kPlaces);
      en += concat(" ", place.english);
      de += concat(" ", place.german);
    }
    for (std::string* s : {&en, &de}) {
      (*s)[0] = char((*s)[0] - 'a' + 'A');
      *s += ".";
    }
    corpus.source.push_back(en);
    corpus.target.push_back(de);
  }

 private:
  uint32_t draw(uint32_t n) { return uint32_t(uint64_t(philox_(0, count_++).word[0]) * n >> 32); }
  template <class T, size_t N>
  const T& pick(const std::array<T, N>& of) {
    return of[draw(N)];
  }

  // "every small cat", "jede kleine Katze".
  void phrase(bool many, bool object, std::string& en, std::string& de) {
    const Noun& noun = pick(kNouns);
    const bool definite = draw(2), described = draw(2);
    en += definite ? "the " : many ? "two " : "every ";
    const bool accusative = object && noun.gender == 'm';
    if (many)
      de += definite ? "die " : "zwei ";
    else if (definite)
      de += noun.gender == 'f' ? "die " : noun.gender == 'n' ? "das " : accusative ? "den " : "der ";
    else
      de += noun.gender == 'f' ? "jede " : noun.gender == 'n' ? "jedes " : accusative ? "jeden " : "jeder ";
    if (described) {
      const Pair& adjective = pick(kAdjectives);
      en += concat(adjective.english, " ");
      de += concat(adjective.german, (many ? definite : accusative) ? "en " : "e ");
    }
    en += many ? noun.plural : noun.english;
    de += many ? noun.german_plural : object ? noun.object : noun.german;
  }

  Philox philox_;
  uint64_t count_ = 0;
};

ParallelCorpus make(uint64_t seed, int64_t count) {
  Grammar grammar(seed);
  ParallelCorpus corpus;
  for (int64_t i = 0; i < count; ++i) grammar.add_to(corpus);
  return corpus;
}

std::string find(const std::string& folder, const std::string& name) {
  for (const char* end : {".gz", ""})
    if (std::string path = join_path(folder, name + end); is_file(path)) return path;
  fail<IOError>(folder, ": has neither ", name, ".gz nor ", name, "; --data is a folder with Multi30k's files");
}

}  // namespace

Sentences read_multi30k(const std::string& folder) {
  const auto read = [&](const std::string& part) {
    const std::string english = find(folder, part + ".en");
    return read_parallel(english, find(folder, part + ".de"));
  };
  return {"multi30k", read("train"), read("val"), read("test_2016_flickr")};
}

Sentences grammar_pairs(int64_t train_count) { return {"grammar", make(1, train_count), make(2, 300), make(3, 300)}; }

}  // namespace examples
