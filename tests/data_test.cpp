// Readers of foreign files against truncated, lying and hostile ones; SHA-256; the procedural digits and shapes;
// metrics.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <set>

#include "support/files.h"
#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/parallel.h"
#include "tenrec/core/philox.h"
#include "tenrec/data/cifar.h"
#include "tenrec/data/dataset.h"
#include "tenrec/data/idx.h"
#include "tenrec/data/metrics.h"
#include "tenrec/data/sha256.h"

// The largest request for memory so far: a reader must not ask for what a header only promises.
static std::atomic<size_t> largest_request{0};

[[gnu::noinline]] void* operator new(size_t n) {
  for (size_t seen = largest_request; seen < n && !largest_request.compare_exchange_weak(seen, n);) {
  }
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace tenrec {
namespace {

using testing::Bytes;
using testing::gzip;
using testing::message_of;
using testing::spit;
using testing::TempFolder;

void put_be32(Bytes& out, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(uint8_t(v >> shift));
}

Bytes idx(const std::vector<uint32_t>& shape, const Bytes& data, uint8_t type = 8) {
  Bytes out{0, 0, type, uint8_t(shape.size())};
  for (const uint32_t n : shape) put_be32(out, n);
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

Bytes ramp(size_t n, unsigned modulus = 251) {
  Bytes out(n);
  for (size_t i = 0; i < n; ++i) out[i] = uint8_t(i % modulus);
  return out;
}

IdxArray parse_idx(const Bytes& bytes, int64_t limit = kIdxMaxBytes) {
  BoundedReader reader(bytes.data(), bytes.size(), "memory.idx", limit + 20);
  return read_idx(reader, limit);
}

// A folder as MNIST's, with n pictures in the training and the test set.
void make_mnist(const TempFolder& folder, uint32_t n, const std::string& dash = "-", bool packed = false) {
  const auto put = [&](const std::string& name, const Bytes& bytes) {
    spit(folder / name, packed ? gzip(bytes) : bytes);
  };
  for (const char* base : {"train", "t10k"}) {
    put(concat(base, "-images", dash, "idx3-ubyte", packed ? ".gz" : ""), idx({n, 28, 28}, ramp(n * 784)));
    put(concat(base, "-labels", dash, "idx1-ubyte", packed ? ".gz" : ""), idx({n}, ramp(n, 10)));
  }
}

TEST(BoundedReader, ReadsPlainAndGzipAlike) {
  const TempFolder folder;
  const Bytes bytes = ramp(300'000);
  spit(folder / "plain", bytes);
  spit(folder / "packed", gzip(bytes));
  for (const char* name : {"plain", "packed"}) {
    BoundedReader reader(folder / name, 1 << 20);
    EXPECT_EQ(reader.compressed(), std::string(name) == "packed");
    EXPECT_EQ(reader.read_u8("byte"), 0);
    EXPECT_EQ(reader.read_le16("two"), 0x0201);
    EXPECT_EQ(reader.read_le32("four"), 0x06050403u);
    EXPECT_EQ(reader.read_be32("four"), 0x0708090au);
    EXPECT_EQ(reader.read_le64("eight"), 0x1211100f0e0d0c0bull);
    EXPECT_EQ(reader.offset(), 19);
    EXPECT_FALSE(reader.at_end());
    Bytes rest;
    reader.append_to(rest, 200'000, "rest");
    EXPECT_FALSE(reader.at_end());
    reader.append_rest(rest, "rest");
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), bytes.begin() + 19, bytes.end())) << name;
    EXPECT_TRUE(reader.at_end());
    reader.expect_end("file");
    EXPECT_EQ(reader.offset(), 300'000);
    EXPECT_CONTAINS(message_of<IOError>([&] { reader.read_u8("one more"); }), "one more");
  }
  EXPECT_EQ(read_file(folder / "packed", 300'000), bytes);
}

TEST(BoundedReader, GzipMembersFollowEachOtherAndNothingElseMay) {
  Bytes packed = gzip(ramp(1000));
  const Bytes second = gzip(ramp(500));
  packed.insert(packed.end(), second.begin(), second.end());
  BoundedReader reader(packed.data(), packed.size(), "two", 1 << 20);
  Bytes out;
  reader.append_rest(out, "both");
  EXPECT_EQ(out.size(), 1500u);

  Bytes trailed = gzip(ramp(1000));
  trailed.push_back('x');
  BoundedReader trailing(trailed.data(), trailed.size(), "trailed", 1 << 20);
  out.clear();
  EXPECT_CONTAINS(message_of<IOError>([&] { trailing.append_rest(out, "all"); }), "followed by something else");
}

TEST(BoundedReader, NoByteOfAGzipMayBeMissingOrFlipped) {
  const Bytes bytes = ramp(5000), packed = gzip(bytes);
  for (size_t n = 2; n < packed.size(); ++n) {
    Bytes out;
    EXPECT_THROW(
        {
          BoundedReader reader(packed.data(), n, "cut", 1 << 20);
          reader.append_rest(out, "all");
        },
        IOError)
        << "cut to " << n;
  }
  int silent = 0;
  for (size_t bit = 16; bit < packed.size() * 8; ++bit) {
    Bytes flipped = packed, out;
    flipped[bit / 8] ^= uint8_t(1u << (bit % 8));
    try {
      BoundedReader reader(flipped.data(), flipped.size(), "flipped", 1 << 20);
      reader.append_rest(out, "all");
      silent += out != bytes;  // time stamp, system and name flags of the header change nothing
    } catch (const IOError&) {
    }
  }
  EXPECT_EQ(silent, 0);
}

TEST(BoundedReader, StopsABomb) {
  const Bytes packed = gzip(Bytes(size_t(64) << 20));  // 64 MiB of zeros in 64 KiB
  ASSERT_LT(packed.size(), size_t(100) << 10);
  largest_request = 0;
  Bytes out;
  BoundedReader reader(packed.data(), packed.size(), "bomb.gz", 1 << 20);
  EXPECT_CONTAINS(message_of<IOError>([&] { reader.append_rest(out, "contents"); }), "limit of 1048576 bytes");
  BoundedReader again(packed.data(), packed.size(), "bomb.gz", 1 << 20);
  EXPECT_CONTAINS(message_of<IOError>([&] { again.append_to(out, 2 << 20, "contents"); }), "limit");
  EXPECT_LE(largest_request, size_t(1) << 20);
}

TEST(BoundedReader, AllocatesNothingOnALie) {
  largest_request = 0;
  const Bytes small = ramp(1000), packed = gzip(small);
  for (const Bytes& source : {small, packed}) {
    BoundedReader reader(source.data(), source.size(), "liar", int64_t(1) << 40);
    Bytes out;
    const std::string message = message_of<IOError>([&] { reader.append_to(out, int64_t(1) << 38, "picture"); });
    EXPECT_CONTAINS(message, "liar: truncated: picture takes 274877906944 bytes");
    EXPECT_CONTAINS(message, "(at byte 0)");
  }
  // A gzip that could hold what it promises, as far as its size tells, and does not.
  Bytes noise(200'000);
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = uint8_t(Philox(3)(0, i).word[0]);
  const Bytes hard = gzip(noise);
  BoundedReader reader(hard.data(), hard.size(), "liar.gz", int64_t(1) << 40);
  Bytes out;
  EXPECT_CONTAINS(message_of<IOError>([&] { reader.append_to(out, 150 << 20, "picture"); }), "truncated");
  EXPECT_LE(largest_request, size_t(1) << 20);
}

TEST(BoundedReader, ChecksProducts) {
  const Bytes bytes(4);
  const BoundedReader reader(bytes.data(), bytes.size(), "sizes", 100);
  EXPECT_EQ(reader.checked_product({3, 4, 5}, 60, "size"), 60);
  EXPECT_EQ(reader.checked_product({3, 0, 5}, 60, "size"), 0);
  EXPECT_CONTAINS(message_of<IOError>([&] {
                    reader.checked_product({3, 4, 6}, 60, "size");
                  }),
                  "size is 72, the limit is 60");
  const int64_t big = int64_t(1) << 32;
  EXPECT_CONTAINS(message_of<IOError>([&] { reader.checked_product({big, big}, INT64_MAX, "size"); }), "overflows");
  EXPECT_CONTAINS(message_of<IOError>([&] { reader.checked_product({big, 0, big}, INT64_MAX, "size"); }), "overflows");
  EXPECT_CONTAINS(message_of<IOError>([&] { reader.checked_product({-1}, 60, "size"); }), "negative");
  EXPECT_CONTAINS(message_of<IOError>([&] { reader.expect_left(-1, "tail"); }), "negative");
}

TEST(BoundedReader, RefusesWhatIsNoFile) {
  const TempFolder folder;
  EXPECT_CONTAINS(message_of<IOError>([&] { BoundedReader(folder / "none", 10); }), "No such file");
  EXPECT_CONTAINS(message_of<IOError>([&] { BoundedReader(folder.path(), 10); }), "a folder");
  EXPECT_CONTAINS(message_of<IOError>([&] { BoundedReader("/dev/zero", 10); }), "not a regular file");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_CONTAINS(message_of<IOError>([&] { BoundedReader(folder / "pipe", 10); }), "not a regular file");
}

TEST(Idx, ReadsPlainAndGzip) {
  const TempFolder folder;
  const Bytes data = ramp(2 * 3 * 4), bytes = idx({2, 3, 4}, data);
  spit(folder / "a", bytes);
  spit(folder / "a.gz", gzip(bytes));
  for (const char* name : {"a", "a.gz"}) {
    const IdxArray array = read_idx(folder / name);
    EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 3, 4}));
    EXPECT_EQ(array.data, data);
  }
  EXPECT_TRUE(parse_idx(idx({0, 28}, {})).data.empty());
}

TEST(Idx, TruncatedAtEveryByte) {
  const Bytes bytes = idx({2, 3, 4}, ramp(24));
  for (size_t n = 0; n < bytes.size(); ++n) {
    const Bytes cut(bytes.begin(), bytes.begin() + std::ptrdiff_t(n));
    EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(cut); }), "memory.idx: truncated") << n;
    EXPECT_THROW(parse_idx(gzip(cut)), IOError) << n;
  }
  const Bytes packed = gzip(bytes);
  for (size_t n = 0; n < packed.size(); ++n) {
    EXPECT_THROW(parse_idx({packed.begin(), packed.begin() + std::ptrdiff_t(n)}), IOError) << n;
  }
}

TEST(Idx, RefusesWrongHeaders) {
  const Bytes data = ramp(24);
  largest_request = 0;
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx({'P', 'K', 3, 4, 0, 0, 0, 0}); }), "not an IDX file");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx({0, 1, 8, 1, 0, 0, 0, 0}); }), "not an IDX file");
  for (const int type : {0, 7, 9, 11, 13, 14, 255}) {
    EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({2, 3, 4}, data, uint8_t(type))); }), "element type");
  }
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx({0, 0, 8, 0}); }), "0 dimensions");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({1, 1, 1, 1, 1}, {7})); }), "5 dimensions");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({2, 3, 5}, data)); }), "truncated");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({2, 3, 3}, data)); }), "after the end");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({1u << 31, 1, 1}, data)); }), "the limit is");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({~0u, ~0u, ~0u}, data)); }), "overflows 64 bits");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({~0u, 0, ~0u, ~0u}, data)); }), "overflows 64 bits");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(idx({1000, 1000, 1000}, data)); }), "truncated");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse_idx(gzip(idx({1000, 1000, 1000}, data))); }), "truncated");
  EXPECT_LE(largest_request, size_t(1) << 20);
}

TEST(Mnist, ReadsBothNamings) {
  for (const bool packed : {false, true}) {
    for (const std::string dash : {"-", "."}) {
      const TempFolder folder;
      make_mnist(folder, 12, dash, packed);
      for (const Split split : {Split::train, Split::test}) {
        const ImageSet set = read_mnist(folder.path(), split);
        EXPECT_EQ(set.size(), 12);
        EXPECT_EQ(set.pixels, ramp(12 * 784));
        EXPECT_EQ(set.labels, ramp(12, 10));
        EXPECT_EQ(set.classes.size(), 10u);
      }
    }
  }
  const TempFolder folder;
  make_mnist(folder, 3);
  EXPECT_EQ(read_fashion_mnist(folder.path(), Split::test).classes[9], "Ankle boot");
}

TEST(Mnist, RefusesWrongFiles) {
  const auto broken = [](const std::string& name, const Bytes& bytes) {
    const TempFolder folder;
    make_mnist(folder, 5);
    spit(folder / name, bytes);
    return message_of<IOError>([&] { read_mnist(folder.path(), Split::train); });
  };
  const std::string images = "train-images-idx3-ubyte", labels = "train-labels-idx1-ubyte";
  EXPECT_CONTAINS(broken(labels, idx({5}, {0, 1, 10, 3, 4})), "label 2 is 10, expected 0 to 9");
  EXPECT_CONTAINS(broken(labels, idx({4}, {0, 1, 2, 3})), "holds 5 images, but");
  EXPECT_CONTAINS(broken(labels, idx({5, 1}, {0, 1, 2, 3, 4})), "expected labels");
  EXPECT_CONTAINS(broken(images, idx({5, 32, 32}, ramp(5 * 1024))), "expected Nx28x28");
  EXPECT_CONTAINS(broken(images, idx({5}, ramp(5))), "expected Nx28x28");
  EXPECT_CONTAINS(broken(images, {}), "truncated");

  const TempFolder empty;
  EXPECT_CONTAINS(message_of<IOError>([&] { read_mnist(empty.path(), Split::test); }), "t10k-images-idx3-ubyte[.gz]");
  EXPECT_CONTAINS(message_of<IOError>([&] { read_mnist(empty / "none", Split::test); }), "is not a folder");
  spit(empty / images, idx({0, 28, 28}, {}));
  spit(empty / labels, idx({0}, {}));
  EXPECT_CONTAINS(message_of<IOError>([&] { read_mnist(empty.path(), Split::train); }), "no images");
}

Bytes cifar_records(int n) {
  Bytes out;
  for (int i = 0; i < n; ++i) {
    out.push_back(uint8_t(i % 10));
    const Bytes pixels = ramp(3072, unsigned(240 + i % 10));
    out.insert(out.end(), pixels.begin(), pixels.end());
  }
  return out;
}

TEST(Cifar, ReadsBatches) {
  const TempFolder folder;
  for (int i = 1; i <= 5; ++i) {
    const std::string name = "data_batch_" + std::to_string(i) + ".bin";
    if (i % 2 == 0)
      spit(folder / name, cifar_records(i));
    else
      spit(folder / (name + ".gz"), gzip(cifar_records(i)));
  }
  spit(folder / "test_batch.bin", cifar_records(4));
  const ImageSet train = read_cifar10(folder.path(), Split::train), test = read_cifar10(folder.path(), Split::test);
  EXPECT_EQ(train.size(), 15);
  EXPECT_EQ(train.pixels.size(), size_t(15 * 3072));
  EXPECT_EQ(test.labels, (Bytes{0, 1, 2, 3}));
  EXPECT_EQ(Bytes(test.image(3), test.image(3) + 3072), ramp(3072, 243));
  std::filesystem::remove(folder / "data_batch_4.bin");
  EXPECT_CONTAINS(message_of<IOError>([&] { read_cifar10(folder.path(), Split::train); }),
                  "data_batch_4.bin[.gz] does not");
}

TEST(Cifar, RefusesWrongFiles) {
  const Bytes bytes = cifar_records(3);
  const auto parse = [](const Bytes& source, int64_t limit = 1 << 20) {
    BoundedReader reader(source.data(), source.size(), "batch", limit);
    ImageSet set{3, 32, 32, {}, {}, {}};
    read_cifar10_batch(reader, set);
    return set.size();
  };
  EXPECT_EQ(parse(bytes), 3);
  EXPECT_EQ(parse(gzip(bytes)), 3);
  for (size_t n = 0; n < bytes.size(); n += n < 3080 ? 1 : 97) {
    if (n == 3073) continue;
    EXPECT_THROW(parse({bytes.begin(), bytes.begin() + std::ptrdiff_t(n)}), IOError) << n;
  }
  Bytes bad = bytes;
  bad[3073] = 10;
  EXPECT_CONTAINS(message_of<IOError>([&] { parse(bad); }), "label of record 1 is 10");
  EXPECT_CONTAINS(message_of<IOError>([&] { parse(gzip(Bytes(size_t(4) << 20))); }), "limit");
}

Bytes cifar100_records(int n) {
  Bytes out;
  for (int i = 0; i < n; ++i) {
    out.push_back(uint8_t(i % 20));
    out.push_back(uint8_t(99 - i % 100));
    const Bytes pixels = ramp(3072, unsigned(240 + i % 10));
    out.insert(out.end(), pixels.begin(), pixels.end());
  }
  return out;
}

TEST(Cifar, ReadsTheHundredClasses) {
  const TempFolder folder;
  spit(folder / "train.bin.gz", gzip(cifar100_records(7)));
  spit(folder / "test.bin", cifar100_records(3));
  const ImageSet train = read_cifar100(folder.path(), Split::train), test = read_cifar100(folder.path(), Split::test);
  EXPECT_EQ(train.size(), 7);
  EXPECT_EQ(train.pixels.size(), size_t(7 * 3072));
  EXPECT_EQ(train.classes.size(), 100u);
  EXPECT_TRUE(std::is_sorted(train.classes.begin(), train.classes.end()));
  EXPECT_EQ(test.labels, (Bytes{99, 98, 97}));
  EXPECT_EQ(Bytes(test.image(2), test.image(2) + 3072), ramp(3072, 242));
  const ImageSet coarse = read_cifar100(folder.path(), Split::test, Cifar100Labels::coarse);
  EXPECT_EQ(coarse.labels, (Bytes{0, 1, 2}));
  EXPECT_EQ(coarse.classes.size(), 20u);
  EXPECT_EQ(coarse.pixels, test.pixels);
  EXPECT_EQ(cifar100(folder.path(), Split::test).get(1).input().shape(), Shape({3, 32, 32}));

  const auto parse = [](const Bytes& source) {
    BoundedReader reader(source.data(), source.size(), "batch", 1 << 20);
    ImageSet set{3, 32, 32, {}, {}, {}};
    read_cifar100_batch(reader, set);
  };
  const Bytes bytes = cifar100_records(2);
  for (size_t n = 0; n < bytes.size(); n += n < 3080 ? 1 : 97) {
    if (n == 3074) continue;
    EXPECT_THROW(parse({bytes.begin(), bytes.begin() + std::ptrdiff_t(n)}), IOError) << n;
  }
  Bytes bad = bytes;
  bad[3074] = 20;
  EXPECT_CONTAINS(message_of<IOError>([&] { parse(bad); }), "coarse label of record 1 is 20, expected 0 to 19");
  bad = bytes;
  bad[1] = 100;
  EXPECT_CONTAINS(message_of<IOError>([&] { parse(bad); }), "fine label of record 0 is 100, expected 0 to 99");
  std::filesystem::remove(folder / "test.bin");
  EXPECT_CONTAINS(message_of<IOError>([&] { read_cifar100(folder.path(), Split::test); }), "test.bin[.gz] does not");
  EXPECT_CONTAINS(message_of<IOError>([&] { read_cifar100(folder / "none", Split::test); }), "is not a folder");
}

TEST(Sha256, KnownAnswers) {  // FIPS 180-4 examples, and one million times 'a'
  EXPECT_EQ(sha256_hex("", 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  EXPECT_EQ(sha256_hex(two.data(), two.size()), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1'000'000, 'a');
  const std::string expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  EXPECT_EQ(sha256_hex(million.data(), million.size()), expected);
  Sha256 pieces;
  for (size_t at = 0, step = 1; at < million.size(); at += step, step = step * 7 % 1013 + 1) {
    step = std::min(step, million.size() - at);
    pieces.update(million.data() + at, step);
  }
  EXPECT_EQ(pieces.hex(), expected);
  // All lengths around the padding's two cases: equal to the digest of the same bytes fed one by one.
  for (size_t n = 50; n < 135; ++n) {
    Sha256 single;
    for (size_t i = 0; i < n; ++i) single.update(million.data(), 1);
    EXPECT_EQ(single.hex(), sha256_hex(million.data(), n));
  }
  const TempFolder folder;
  spit(folder / "abc", {'a', 'b', 'c'});
  EXPECT_EQ(sha256_file(folder / "abc"), sha256_hex("abc", 3));
  EXPECT_CONTAINS(message_of<IOError>([&] { sha256_file(folder / "none"); }), "No such file");
}

TEST(Philox, KnownAnswers) {  // kat_vectors of Random123
  const auto check = [](Philox philox, PhiloxBlock counter, PhiloxBlock expected) {
    const PhiloxBlock out = philox(counter);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(out.word[i], expected.word[i]);
  };
  check(Philox(0u, 0u), {{0, 0, 0, 0}}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  check(Philox(~0u, ~0u), {{~0u, ~0u, ~0u, ~0u}}, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  check(Philox(0xa4093822u, 0x299f31d0u), {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
        {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST(Digits, SameBytesForAnyThreadsAndRange) {
  const int threads = num_threads();
  set_num_threads(1);
  const ImageSet one = make_digits(Split::test, 7, 0, 1000);
  for (const int n : {2, 3, 8}) {
    set_num_threads(n);
    const ImageSet many = make_digits(Split::test, 7, 0, 1000);
    EXPECT_EQ(many.pixels, one.pixels);
    EXPECT_EQ(many.labels, one.labels);
  }
  set_num_threads(threads);
  const ImageSet part = make_digits(Split::test, 7, 300, 50);
  EXPECT_EQ(part.labels, Bytes(one.labels.begin() + 300, one.labels.begin() + 350));
  EXPECT_EQ(part.pixels, Bytes(one.pixels.begin() + 300 * 784, one.pixels.begin() + 350 * 784));
  EXPECT_NE(make_digits(Split::test, 8, 0, 1000).pixels, one.pixels);
  EXPECT_NE(make_digits(Split::train, 7, 0, 1000).pixels, one.pixels);
}

TEST(Digits, SameBytesOnEveryMachine) {
  const ImageSet set = make_digits(Split::test, kDigitSeed, 0, 500);
  EXPECT_EQ(sha256_hex(set.labels.data(), set.labels.size()),
            "66d7581288faad2d29a4f355fa1c56b7e3497a5c976def389157a76414f51ec9");
  EXPECT_EQ(sha256_hex(set.pixels.data(), set.pixels.size()),
            "e5569a7b4a9fa7b2f5b64fa9e7d524c24e3f7addb5684d9edbb97c9eb91a0b02");
}

TEST(Digits, LookLikeMnist) {
  const ImageSet set = make_digits(Split::train, kDigitSeed, 0, 4000);
  std::vector<int> count(10);
  std::set<std::string> distinct;
  double sum = 0, off_centre = 0;
  for (int64_t i = 0; i < set.size(); ++i) {
    const uint8_t* p = set.image(i);
    ++count[set.labels[size_t(i)]];
    distinct.insert(std::string(p, p + 784));
    double mass = 0, x_mass = 0, y_mass = 0;
    int low = 28, high = -1, left = 28, right = -1, brightest = 0;
    for (int y = 0; y < 28; ++y) {
      for (int x = 0; x < 28; ++x) {
        const int v = p[y * 28 + x];
        mass += v, x_mass += v * x, y_mass += v * y;
        brightest = std::max(brightest, v);
        if (v > 64)
          low = std::min(low, y), high = std::max(high, y), left = std::min(left, x), right = std::max(right, x);
      }
    }
    ASSERT_GT(brightest, 180) << i;
    ASSERT_LE(std::max(high - low, right - left), 21) << i;
    ASSERT_GE(std::max(high - low, right - left), 15) << i;
    sum += mass;
    off_centre = std::max(off_centre, std::max(std::abs(x_mass / mass - 14), std::abs(y_mass / mass - 14)));
  }
  EXPECT_EQ(distinct.size(), 4000u);
  EXPECT_LT(off_centre, 3.0);
  EXPECT_NEAR(sum / (4000.0 * 784 * 255), 0.1307, 0.02);  // MNIST's mean
  for (int digit = 0; digit < 10; ++digit) EXPECT_NEAR(count[size_t(digit)], 400, 80) << digit;
  EXPECT_EQ(digit_count(Split::train), 60'000);
  EXPECT_EQ(digit_count(Split::test), 10'000);
}

TEST(Shapes, SameBytesForAnyThreadsAndRange) {
  const int threads = num_threads();
  set_num_threads(1);
  const ImageSet one = make_shapes(Split::test, 7, 0, 400);
  for (const int n : {2, 3}) {
    set_num_threads(n);
    EXPECT_EQ(make_shapes(Split::test, 7, 0, 400).pixels, one.pixels);
  }
  set_num_threads(threads);
  const ImageSet part = make_shapes(Split::test, 7, 150, 30);
  EXPECT_EQ(part.labels, Bytes(one.labels.begin() + 150, one.labels.begin() + 180));
  EXPECT_EQ(part.pixels, Bytes(one.pixels.begin() + 150 * 3072, one.pixels.begin() + 180 * 3072));
  EXPECT_NE(make_shapes(Split::test, 8, 0, 400).pixels, one.pixels);
  EXPECT_NE(make_shapes(Split::train, 7, 0, 400).pixels, one.pixels);
  EXPECT_EQ(shape_count(Split::train), 50'000);
  EXPECT_THROW(make_shapes(Split::test, 1, 0, 10'001), ValueError);
}

TEST(Shapes, SameBytesOnEveryMachine) {
  const ImageSet set = make_shapes(Split::test, kShapeSeed, 0, 200);
  EXPECT_EQ(sha256_hex(set.labels.data(), set.labels.size()),
            "75a3665f9d49f84d7ca736b782a225055190889ff0d63500125a3bfd4d96c991");
  EXPECT_EQ(sha256_hex(set.pixels.data(), set.pixels.size()),
            "f1f5394084438466052c8ce8f1e6e304f9787c01a901abcab8b8e16c87603441");
}

TEST(Shapes, ColourTellsNothing) {
  const ImageSet set = make_shapes(Split::train, kShapeSeed, 0, 5000);
  std::vector<int> count(10);
  std::vector<double> sums(30);
  std::set<std::string> distinct;
  for (int64_t i = 0; i < set.size(); ++i) {
    const uint8_t* p = set.image(i);
    const size_t label = set.labels[size_t(i)];
    ++count[label];
    distinct.insert(std::string(p, p + 3072));
    for (int at = 0; at < 3072; ++at) sums[label * 3 + size_t(at / 1024)] += p[at];
  }
  EXPECT_EQ(distinct.size(), 5000u);
  EXPECT_EQ(set.classes.size(), 10u);
  for (size_t c = 0; c < 10; ++c) {
    EXPECT_NEAR(count[c], 500, 90) << c;
    for (size_t channel = 0; channel < 3; ++channel)
      EXPECT_NEAR(sums[c * 3 + channel] / (count[c] * 1024.0 * 255), 0.5, 0.04) << c;
  }
}

TEST(Digits, RefusesWrongRanges) {
  EXPECT_EQ(make_digits(Split::test, 1, 10'000).size(), 0);
  EXPECT_EQ(make_digits(Split::test, 1, 9'990).size(), 10);
  EXPECT_THROW(make_digits(Split::test, 1, -1), ValueError);
  EXPECT_THROW(make_digits(Split::test, 1, 10'001), ValueError);
  EXPECT_THROW(make_digits(Split::test, 1, 0, 10'001), ValueError);
  EXPECT_THROW(make_digits(Split::test, 1, 0, -2), ValueError);
}

Tensor scores() {  // predicts 2, 0, 1, 1
  return from_vector<float>({0, 1, 5, 9, 1, 2, 0, 3, 3, 0, 7, 1}, {4, 3});
}

TEST(Metrics, Accuracy) {
  Accuracy accuracy;
  EXPECT_EQ(accuracy.value(), 0);
  accuracy.add(scores(), from_vector<int64_t>({2, 0, 0, 1}, {4}));
  EXPECT_EQ(accuracy.correct(), 3);
  EXPECT_EQ(accuracy.value(), 0.75);
  accuracy.add(from_vector<int32_t>({1, 1}, {2}), from_vector<int64_t>({0, 1}, {2}));
  EXPECT_EQ(accuracy.total(), 6);
  EXPECT_EQ(accuracy.correct(), 4);
  const float nan = std::nanf("");
  EXPECT_EQ(predicted_classes(from_vector<float>({9, nan, 1, nan}, {1, 4})), (std::vector<int64_t>{1}));
  EXPECT_THROW(accuracy.add(scores(), from_vector<int64_t>({2, 0, 0}, {3})), ShapeError);
  EXPECT_THROW(accuracy.add(scores(), from_vector<float>({2, 0, 0, 1}, {4})), DTypeError);
  EXPECT_THROW(predicted_classes(from_vector<float>({1, 2}, {2})), ShapeError);
  EXPECT_THROW(predicted_classes(from_vector<int64_t>({1, 2}, {1, 2})), DTypeError);
}

TEST(Metrics, ConfusionMatrix) {
  ConfusionMatrix matrix(3, {"ant", "bee", "cat"});
  matrix.add(scores(), from_vector<int64_t>({2, 0, 0, 1}, {4}));
  matrix.add(scores(), from_vector<int64_t>({2, 1, 1, 1}, {4}));
  EXPECT_EQ(matrix.count(0, 0), 1);
  EXPECT_EQ(matrix.count(0, 1), 1);
  EXPECT_EQ(matrix.count(1, 0), 1);
  EXPECT_EQ(matrix.count(1, 1), 3);
  EXPECT_EQ(matrix.count(2, 2), 2);
  EXPECT_EQ(matrix.total(), 8);
  EXPECT_DOUBLE_EQ(matrix.accuracy(), 0.75);
  EXPECT_DOUBLE_EQ(matrix.recall(1), 0.75);
  EXPECT_DOUBLE_EQ(matrix.precision(1), 0.75);
  EXPECT_DOUBLE_EQ(matrix.precision(0), 0.5);
  EXPECT_DOUBLE_EQ(matrix.f1(0), 0.5);
  const std::string table = matrix.to_string();
  for (const char* part : {" bee |", "75.00%", "accuracy 75.00% of 8"}) EXPECT_CONTAINS(table, part);
  EXPECT_THROW(matrix.add(scores(), from_vector<int64_t>({2, 0, 3, 1}, {4})), IndexError);
  EXPECT_EQ(matrix.total(), 8) << "a refused batch leaves no trace";
  EXPECT_THROW(matrix.count(3, 0), IndexError);
  EXPECT_THROW(ConfusionMatrix(0), ValueError);
  EXPECT_THROW(ConfusionMatrix(3, {"one"}), ValueError);
}

}  // namespace
}  // namespace tenrec
