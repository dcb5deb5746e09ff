// SHA-256 (FIPS 180-4): names the exact bytes of a download, a data set or a set of weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tenrec {

class Sha256 {
 public:
  Sha256& update(const void* data, size_t n);
  // The digest of everything so far, as 64 lower-case hex digits. More may be added afterwards.
  std::string hex() const;

 private:
  void process(const uint8_t* block);

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t pending_[64];
  uint64_t size_ = 0;
};

std::string sha256_hex(const void* data, size_t n);
// Of the file's bytes as they are (a gzip is not unpacked). Throws IOError.
std::string sha256_file(const std::string& path);

}  // namespace tenrec
