// UTF-8: checked, cut into code points, and put together; the Unicode categories that tokenizers ask for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tenrec {

// The byte offset of the first place where `text` is not UTF-8 (a stray or missing continuation byte, an overlong form,
// a surrogate, a value beyond U+10FFFF), or -1 if all of it is.
int64_t find_bad_utf8(std::string_view text);
// ValueError "<name>: not UTF-8 at byte N (0xE9)" unless all of it is.
void check_utf8(std::string_view text, std::string_view name);
// The text with U+FFFD for each byte that is not UTF-8: for showing what a model has written.
std::string replace_bad_utf8(std::string_view text);

// The code point that begins at text[i], and moves i behind it. The text must be valid from there on.
uint32_t next_code_point(std::string_view text, size_t& i);
void append_utf8(std::string& out, uint32_t code_point);
// "U+00E9", for messages.
std::string code_point_name(uint32_t code_point);

// General category L, N or M of Unicode 16, and the property White_Space.
bool is_letter(uint32_t code_point);
bool is_number(uint32_t code_point);
bool is_mark(uint32_t code_point);
bool is_space(uint32_t code_point);
// Each code point by its simple lower-case mapping. ValueError unless the text is UTF-8.
std::string lower_case(std::string_view text);

// A whole text file (gzip is decompressed). IOError "<path>: not UTF-8 at byte N (0xE9)", or if it is longer than
// max_bytes. A byte order mark at the front is dropped.
std::string read_text(const std::string& path, int64_t max_bytes = int64_t(1) << 32);

}  // namespace tenrec
