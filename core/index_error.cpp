#include "tenrec/core/index_error.h"

#include "tenrec/core/error.h"

namespace tenrec::detail {

std::string index_error(const std::string& op, const IndexRule& rule, int64_t index, int64_t position) {
  using Kind = IndexRule::Kind;
  if (rule.kind == Kind::target)
    return concat(op, ": target ", index, " at position ", position, " is out of range for ", rule.high, " classes");
  const std::string found = concat(op, ": index ", index, " (element ", position, " of ",
                                   rule.kind == Kind::picker ? "an index tensor" : "the indices", ") is out of range");
  if (rule.kind == Kind::number) return concat(found, ", expected ", rule.low, " to ", rule.high - 1);
  return concat(found, " for dimension ", rule.dim, " of size ", rule.high);
}

}  // namespace tenrec::detail
