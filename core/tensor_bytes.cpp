#include "tenrec/core/tensor_bytes.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace tenrec::detail {

void for_each_piece(const Tensor& tensor, FunctionRef<void(const void*, size_t)> sink) {
  const Tensor t = tensor.device().is_cpu() ? tensor : tensor.detach().to(kCpu);
  const auto* data = static_cast<const char*>(t.data_ptr());
  const int64_t width = size_of(t.dtype());
  if (t.is_contiguous()) {
    if (t.numel() > 0) sink(data, size_t(t.numel() * width));
    return;
  }
  constexpr int64_t kPiece = 8192;
  std::vector<char> piece(static_cast<size_t>(std::min(t.numel(), kPiece) * width));
  Shape index = Shape::filled(t.ndim(), 0);
  int64_t filled = 0, offset = 0;
  for (int64_t n = 0; n < t.numel(); ++n) {
    std::memcpy(piece.data() + filled++ * width, data + offset * width, size_t(width));
    if (filled == kPiece || n + 1 == t.numel()) {
      sink(piece.data(), size_t(filled * width));
      filled = 0;
    }
    for (int64_t d = t.ndim() - 1; d >= 0; --d) {
      offset += t.strides()[d];
      if (++index[d] < t.shape()[d]) break;
      offset -= t.shape()[d] * t.strides()[d];
      index[d] = 0;
    }
  }
}

int64_t find_bad_bool(const void* bytes, int64_t n) {
  const auto* p = static_cast<const uint8_t*>(bytes);
  for (int64_t i = 0; i < n; ++i)
    if (p[i] > 1) return i;
  return -1;
}

}  // namespace tenrec::detail
