#include "tenrec/data/utf8.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <vector>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/core/error.h"
#include "tenrec/data/unicode_tables_impl.h"

namespace tenrec {
namespace {

constexpr uint32_t kReplacement = 0xFFFD;

// The length of the sequence at text[i], 0 if it is not a valid one (Unicode 16, table 3-7).
size_t sequence_length(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return k < text.size() ? uint8_t(text[k]) : uint8_t(0); };
  const auto continues = [&](size_t k) { return (byte(k) & 0xC0) == 0x80; };
  const uint8_t b = byte(i), second = byte(i + 1);
  if (b < 0x80) return 1;
  if (b < 0xC2 || b > 0xF4 || !continues(i + 1)) return 0;
  if (b < 0xE0) return 2;
  if (b < 0xF0) {
    if ((b == 0xE0 && second < 0xA0) || (b == 0xED && second > 0x9F) || !continues(i + 2)) return 0;
    return 3;
  }
  if ((b == 0xF0 && second < 0x90) || (b == 0xF4 && second > 0x8F) || !continues(i + 2) || !continues(i + 3)) return 0;
  return 4;
}

template <size_t N>
bool in_ranges(const uint32_t (&bounds)[N], uint32_t c) {
  return (std::upper_bound(std::begin(bounds), std::end(bounds), c) - std::begin(bounds)) % 2 == 1;
}

uint32_t lower_code_point(uint32_t c) {
  if (c < 128) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const auto* run = std::upper_bound(std::begin(unicode::kLower), std::end(unicode::kLower), c,
                                     [](uint32_t value, const unicode::LowerRun& r) { return value < r.first; });
  if (run == std::begin(unicode::kLower)) return c;
  --run;
  return c <= run->last && (c - run->first) % run->step == 0 ? uint32_t(int64_t(c) + run->distance) : c;
}

std::string bad_utf8(std::string_view name, std::string_view text, int64_t at) {
  char hex[8];
  std::snprintf(hex, sizeof hex, "0x%02X", unsigned(uint8_t(text[size_t(at)])));
  return concat(name, ": not UTF-8 at byte ", at, " (", hex, ")");
}

}  // namespace

int64_t find_bad_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t eight = 0;  // eight bytes of ASCII at a time
    while (i + 8 <= text.size()) {
      std::memcpy(&eight, text.data() + i, 8);
      if ((eight & 0x8080808080808080ULL) != 0) break;
      i += 8;
    }
    if (i == text.size()) break;
    const size_t length = sequence_length(text, i);
    if (length == 0) return int64_t(i);
    i += length;
  }
  return -1;
}

void check_utf8(std::string_view text, std::string_view name) {
  const int64_t bad = find_bad_utf8(text);
  if (bad >= 0) fail<ValueError>(bad_utf8(name, text, bad));
}

std::string replace_bad_utf8(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t length = sequence_length(text, i);
    if (length == 0) {
      append_utf8(out, kReplacement);
      ++i;
    } else {
      out.append(text.substr(i, length));
      i += length;
    }
  }
  return out;
}

uint32_t next_code_point(std::string_view text, size_t& i) {
  const auto b = uint8_t(text[i++]);
  if (b < 0x80) return b;
  const auto more = [&] { return uint32_t(uint8_t(text[i++]) & 0x3F); };
  uint32_t c = b < 0xE0 ? b & 0x1FU : b < 0xF0 ? b & 0x0FU : b & 0x07U;
  c = c << 6 | more();
  if (b >= 0xE0) c = c << 6 | more();
  if (b >= 0xF0) c = c << 6 | more();
  return c;
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += char(c);
    return;
  }
  const auto more = [&](int shift) { out += char(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x800) {
    out += char(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    out += char(0xE0 | c >> 12);
    more(6);
  } else {
    out += char(0xF0 | c >> 18);
    more(12);
    more(6);
  }
  more(0);
}

std::string code_point_name(uint32_t c) {
  char text[16];
  std::snprintf(text, sizeof text, "U+%04X", unsigned(c));
  return text;
}

bool is_letter(uint32_t c) {
  if (c < 128) return (c | 32) >= 'a' && (c | 32) <= 'z';
  return in_ranges(unicode::kLetters, c);
}
bool is_number(uint32_t c) {
  if (c < 128) return c >= '0' && c <= '9';
  return in_ranges(unicode::kNumbers, c);
}
bool is_mark(uint32_t c) { return c >= 128 && in_ranges(unicode::kMarks, c); }
bool is_space(uint32_t c) {
  if (c < 128) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string lower_case(std::string_view text) {
  check_utf8(text, "lower_case");
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) append_utf8(out, lower_code_point(next_code_point(text, i)));
  return out;
}

std::string read_text(const std::string& path, int64_t max_bytes) {
  const std::vector<uint8_t> bytes = read_file(path, max_bytes);
  std::string text(bytes.begin(), bytes.end());
  const int64_t bad = find_bad_utf8(text);
  if (bad >= 0) fail<IOError>(bad_utf8(path, text, bad));
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

}  // namespace tenrec
