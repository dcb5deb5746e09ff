#include "tenrec/data/gpt2_split.h"

#include "tenrec/data/utf8.h"

namespace tenrec {
namespace {

enum class Kind { letter, number, space, other };

Kind kind_of(uint32_t c) {
  if (is_letter(c)) return Kind::letter;
  if (is_space(c)) return Kind::space;
  return is_number(c) ? Kind::number : Kind::other;
}

// The length of 's 't 'm 'd 're 've 'll at text[i], 0 if none stands there.
size_t contraction(std::string_view text, size_t i) {
  if (text[i] != '\'' || i + 1 == text.size()) return 0;
  const char a = text[i + 1], b = i + 2 < text.size() ? text[i + 2] : '\0';
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

// The end of the run of code points of one kind from i on.
size_t run_end(std::string_view text, size_t i, Kind kind) {
  while (i < text.size()) {
    size_t next = i;
    if (kind_of(next_code_point(text, next)) != kind) break;
    i = next;
  }
  return i;
}

}  // namespace

size_t gpt2_piece_end(std::string_view text, size_t begin) {
  if (const size_t length = contraction(text, begin)) return begin + length;
  size_t next = begin;
  Kind kind = kind_of(next_code_point(text, next));
  if (text[begin] == ' ' && next < text.size()) {  // one space belongs to the word after it
    size_t after = next;
    const Kind word = kind_of(next_code_point(text, after));
    if (word != Kind::space) {
      kind = word;
      next = after;
    }
  }
  if (kind != Kind::space) return run_end(text, next, kind);
  // Blanks before a word leave the last of them to it; at the end of the text they are one piece.
  size_t last = begin;
  while (next < text.size()) {
    size_t after = next;
    if (!is_space(next_code_point(text, after))) return last == begin ? next : last;
    last = next;
    next = after;
  }
  return next;
}

}  // namespace tenrec
