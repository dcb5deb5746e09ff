#include "tenrec/core/dtype.h"

#include <utility>

namespace tenrec {

const char* name(DType t) {
  constexpr const char* names[] = {"f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool"};
  return names[int(t)];
}

void append(std::string& out, DType t) { out.append(name(t)); }

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (a > b) std::swap(a, b);                                  // the enum is ordered by rank
  if (a == DType::bf16 && b == DType::f16) return DType::f32;  // neither holds the other
  return a;
}

}  // namespace tenrec
