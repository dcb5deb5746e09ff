// The example programs that read texts, shortened.
#include "support/examples.h"

namespace tenrec::testing {
namespace {

TEST_F(Examples, Gpt) {
  const Arguments small{"--quiet", "--layers", "2", "--width", "32", "--context", "16"};
  const auto with = [&](Arguments more, const char* steps = "40") {
    more.insert(more.end(), {"--steps", steps});
    more.insert(more.begin(), small.begin(), small.end());
    return more;
  };
  const Outcome first = succeed(folder_, "gpt", with({"--generate", "30", "--prompt", "The "}));
  const json report = first.result();
  EXPECT_EQ(report.value("data", ""), "grammar");
  EXPECT_EQ(report.value("steps", 0), 40);
  EXPECT_GT(report.value("tokens_per_second", 0.0), 0);
  EXPECT_LT(report.value("validation_loss", 9.0), 3.2);  // 3.8 is a guess among all characters
  EXPECT_CONTAINS(first.out, "The ");
  EXPECT_EQ(succeed(folder_, "gpt", with({"--generate", "30", "--prompt", "The "})).lines()[0], first.lines()[0]);
  EXPECT_EQ(succeed(folder_, "gpt", with({"--threads", "3"})).sha(), first.sha());
  const json pairs = succeed(folder_, "gpt", with({"--tokens", "bpe", "--vocabulary", "300"})).result();
  EXPECT_EQ(pairs.value("tokens", ""), "bpe");
  EXPECT_LT(pairs.value("validation_loss", 9.0), 5.0);  // 5.7 is a guess
  // Cut short and taken up again; dropout draws as it would have.
  const std::string whole = succeed(folder_, "gpt", with({"--dropout", "0.1"})).sha();
  succeed(folder_, "gpt", with({"--dropout", "0.1", "--save", "gpt.state"}, "15"));
  EXPECT_EQ(succeed(folder_, "gpt", with({"--dropout", "0.1", "--resume", "gpt.state"})).sha(), whole);
  expect_one_line_error(folder_, "gpt", with({"--tokens", "bpe", "--resume", "gpt.state"}),
                        {"gpt.state", "32 wide, characters"});
  spit(folder_ / "short.txt", Bytes(9, 'x'));
  expect_one_line_error(folder_, "gpt", with({"--data", "short.txt"}), {"short: 9 tokens are too few"});
  expect_one_line_error(folder_, "gpt", with({"--data", "none.txt"}), {"none.txt"});
  expect_one_line_error(folder_, "gpt", with({"--generate", "3", "--prompt", "#"}), {"'#'", "not in the vocabulary"});
  expect_one_line_error(folder_, "gpt", with({"--epochs", "3"}), {"--epochs means nothing"});
}

// A run cut short and taken up again, with other threads, ends as the whole one.
void expect_resumes(const TempFolder& folder, const std::string& name, Arguments arguments, const char* half,
                    const std::string& whole) {
  arguments.push_back("--quiet");
  const auto with = [&](Arguments more) {
    more.insert(more.begin(), arguments.begin(), arguments.end());
    return succeed(folder, name, more);
  };
  with({"--steps", half, "--save", "half", "--threads", "1"});
  EXPECT_EQ(with({"--resume", "half", "--threads", "3"}).sha(), whole);
}

TEST_F(Examples, Translate) {
  for (const char* model : {"gru", "transformer"}) {
    SCOPED_TRACE(model);
    const Arguments small{"--model", model, "--width", "48", "--heads", "2", "--epochs", "4", "--lr", "0.006"};
    Arguments first = small;
    first.insert(first.end(), {"--translate", "Two kings laugh.", "--beams", "2"});
    const Outcome outcome = succeed(folder_, "translate", first);
    const json report = outcome.result();
    expect_run(report, "translate", "grammar", "bleu");
    EXPECT_EQ(report.value("model", ""), model);
    EXPECT_GT(report.value("bleu", 0.0), 5) << model << " learned nothing";
    EXPECT_LT(report.value("validation_loss", 9.0), 2.5);
    EXPECT_CONTAINS(outcome.out, "epoch 4/4");
    expect_resumes(folder_, "translate", small, "200", outcome.sha());
  }
  expect_one_line_error(folder_, "translate", {"--resume", "half", "--model", "gru"}, {"half", "translate gru 1 x 64"});
  expect_one_line_error(folder_, "translate", {"--data", folder_ / "nowhere"},
                        {folder_ / "nowhere", "train.en", "Multi30k"});
  expect_one_line_error(folder_, "translate", {"--heads", "7"}, {"--width must be a multiple of --heads", "64 and 7"});
  // A corpus of files, and what is wrong with them.
  const std::string corpus = folder_ / "corpus";
  std::filesystem::create_directories(corpus);
  for (const char* part : {"train", "val", "test_2016_flickr"}) {
    std::string en, de;
    for (int i = 0; i < 80; ++i) {
      en += i % 2 ? "a small dog runs away\n" : "an old cat sleeps here\n";
      de += i % 2 ? "ein kleiner Hund rennt weg\n" : "eine alte Katze schläft hier\n";
    }
    spit_text(concat(corpus, "/", part, ".en"), en);
    spit(concat(corpus, "/", part, ".de.gz"), gzip(Bytes(de.begin(), de.end())));
  }
  const Arguments own{"--data", corpus, "--vocabulary", "280", "--batch-size", "8", "--epochs", "10"};
  const Outcome known = succeed(folder_, "translate", own);
  EXPECT_EQ(known.result().value("data", ""), "multi30k");
  EXPECT_GT(known.result().value("bleu", 0.0), 99);  // two sentences are soon known by heart
  EXPECT_CONTAINS(known.out, "eine alte Katze schläft hier");
  spit_text(corpus + "/val.en", "one line\n");
  expect_one_line_error(folder_, "translate", own, {"val.en", "80", "1"});
  spit_text(corpus + "/val.en", "bad \xff\n");
  expect_one_line_error(folder_, "translate", own, {"val.en", "UTF-8"});
}

TEST_F(Examples, Mlm) {
  const Arguments small{"--width", "48", "--heads", "2", "--layers", "2", "--context", "32"};
  const auto with = [&](Arguments more) {
    more.insert(more.begin(), small.begin(), small.end());
    return more;
  };
  const Outcome outcome =
      succeed(folder_, "mlm", with({"--steps", "120", "--fill", "The king sees the <mask> in the garden."}));
  const json report = outcome.result();
  EXPECT_EQ(report.value("data", ""), "grammar");
  EXPECT_EQ(report.value("steps", 0), 120);
  EXPECT_GT(report.value("below_unigram", 0.0), 0.15) << "it learned nothing";
  EXPECT_NEAR(report.value("unigram_loss", 0.0) - report.value("validation_loss", 9.0),
              report.value("below_unigram", 0.0), 1e-9);
  EXPECT_CONTAINS(outcome.out, "The king sees the");
  EXPECT_EQ(outcome.out.find("<mask>"), std::string::npos);
  Arguments quiet = with({"--quiet", "--steps"});
  quiet.push_back("60");
  const std::string whole = succeed(folder_, "mlm", quiet).sha();
  quiet.back() = "25";
  quiet.insert(quiet.end(), {"--save", "half", "--threads", "1"});
  succeed(folder_, "mlm", quiet);
  EXPECT_EQ(succeed(folder_, "mlm", with({"--quiet", "--steps", "60", "--resume", "half", "--threads", "3"})).sha(),
            whole);
  expect_one_line_error(folder_, "mlm", {"--resume", "half"}, {"half", "2 layers"});
  expect_one_line_error(folder_, "mlm", with({"--fill", "The king sleeps."}), {"--fill", "no <mask>"});
  std::string text;
  for (int i = 0; i < 200; ++i) text += "one \xe9 two three four\n";
  spit_text(folder_ / "latin.txt", text);  // read with U+FFFD for what is not UTF-8
  EXPECT_EQ(succeed(folder_, "mlm", with({"--data", "latin.txt", "--vocabulary", "270", "--steps", "3"}))
                .result()
                .value("data", ""),
            "latin");
  spit_text(folder_ / "short.txt", "one two three");
  expect_one_line_error(folder_, "mlm", with({"--data", "short.txt"}), {"short: ", "tokens are too few", "320"});
}

TEST_F(Examples, CharRnn) {
  for (const char* cell : {"rnn", "lstm", "gru"}) {
    const Arguments base{"--cell", cell, "--hidden", "48", "--layers", "2", "--epochs", "1", "--dropout", "0.1"};
    const auto with = [&](Arguments more) {
      more.insert(more.begin(), base.begin(), base.end());
      return more;
    };
    const Outcome outcome = succeed(folder_, "char_rnn", with({"--sample", "60", "--steps", "40"}));
    const json report = outcome.result();
    expect_run(report, "char_rnn", "grammar", "validation_loss");
    EXPECT_EQ(report.value("model", ""), cell);
    EXPECT_LT(report.value("validation_loss", 9.0), 3.2) << cell << " learned nothing";
    EXPECT_GT(report.value("validation_loss", 0.0), 0.3);
    // The carried state is part of what is saved, and the threads change nothing.
    const Arguments quiet{"--sample", "0", "--quiet", "--steps"};
    const auto steps = [&](const char* n, Arguments more) {
      more.insert(more.begin(), n);
      more.insert(more.begin(), quiet.begin(), quiet.end());
      return with(more);
    };
    succeed(folder_, "char_rnn", steps("15", {"--save", "half", "--threads", "1"}));
    EXPECT_EQ(succeed(folder_, "char_rnn", steps("40", {"--resume", "half", "--threads", "3"})).sha(), outcome.sha());
  }
  spit(folder_ / "short.txt", Bytes(100, 'x'));
  expect_one_line_error(folder_, "char_rnn", {"--data", folder_ / "short.txt"}, {"short", "100 bytes"});
  expect_one_line_error(folder_, "char_rnn", {"--data", folder_ / "nowhere"}, {folder_ / "nowhere"});
  expect_one_line_error(folder_, "char_rnn", {"--data", folder_.path()}, {"tinyshakespeare.txt", "--data"});
  expect_one_line_error(folder_, "char_rnn", {"--prompt", "#"}, {"no byte 35"});
  // A text that repeats itself is soon known by heart, and the likeliest characters go on with it.
  std::string line = "a tenrec has many small teeth; ", text;
  for (int i = 0; i < 400; ++i) text += line;
  spit(folder_ / "song.txt", Bytes(text.begin(), text.end()));
  const Outcome known = succeed(folder_, "char_rnn",
                                {"--data", folder_ / "song.txt", "--hidden", "64", "--bptt", "16", "--batch-size", "8",
                                 "--epochs", "3", "--temperature", "0", "--sample", "40", "--prompt", "a tenrec"});
  EXPECT_EQ(known.result().value("data", ""), "song");
  EXPECT_LT(known.result().value("validation_loss", 9.0), 0.1);
  EXPECT_CONTAINS(known.out, "a tenrec has many small teeth; a tenrec ");
}

TEST_F(Examples, Word2vec) {
  for (const char* model : {"skip-gram", "glove"}) {
    SCOPED_TRACE(model);
    const auto with = [&](Arguments more) {
      more.insert(more.end(), {"--model", model, "--dim", "16", "--epochs", "2", "--batch-size", "200"});
      if (std::string(model) == "skip-gram") more.resize(more.size() - 2);
      return more;
    };
    const Outcome outcome = succeed(folder_, "word2vec", with({}));
    const json report = outcome.result();
    expect_run(report, "word2vec", "subjects", "spearman");
    EXPECT_EQ(report.value("model", ""), model);
    EXPECT_GT(report.value("spearman", 0.0), 0.8);  // 0.87 is what a perfect order with ties has
    const double first = std::stod(outcome.out.substr(outcome.out.find("loss ") + 5));
    EXPECT_LT(report.value("train_loss", 9.0), first);
    succeed(folder_, "word2vec", with({"--quiet", "--steps", "50", "--save", "half", "--threads", "1"}));
    EXPECT_EQ(succeed(folder_, "word2vec", with({"--resume", "half", "--threads", "3"})).sha(), outcome.sha());
  }
  // Judged pairs are found beside the text.
  std::string text;
  for (int i = 0; i < 600; ++i) text += i / 20 % 2 ? "Sun and moon and stars. " : "bread with butter with jam ";
  std::filesystem::create_directories(folder_ / "wordvec");
  spit_text(folder_ / "dickens.txt", text);
  const std::string pairs = folder_ / "wordvec/EN-WS-353-ALL.txt";
  spit_text(pairs, "sun\tmoon\t9\nMoon\tstars\t9\nbread\tjam\t8.5\nsun\tbread\t1\nstars\tjam\t0.5\nsun\tunknown\t5\n");
  const json judged =
      succeed(folder_, "word2vec", {"--data", folder_.path(), "--epochs", "20", "--sample", "0"}).result();
  EXPECT_EQ(judged.value("data", ""), "dickens.txt");
  EXPECT_GT(judged.value("wordsim353", 0.0), 0.5);  // the least if no pair of one topic is below one of two
  spit_text(pairs, "sun\tmoon\t9\nsun moon\n");
  expect_one_line_error(folder_, "word2vec", {"--data", folder_.path()}, {pairs, "line 2"});
  spit_text(folder_ / "short.txt", "one word");
  expect_one_line_error(folder_, "word2vec", {"--data", folder_ / "short.txt"}, {"0 words that occur 5 times"});
  expect_one_line_error(folder_, "word2vec", {"--data", folder_ / "wordvec"}, {"dickens.txt", "--data"});
  expect_one_line_error(folder_, "word2vec", {"--model", "glove", "--negative", "3"}, {"--negative", "means nothing"});
}

}  // namespace
}  // namespace tenrec::testing
