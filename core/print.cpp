#include "tenrec/core/print.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ostream>

namespace tenrec {
namespace {

constexpr int64_t kThreshold = 1000;  // more elements than this are summarised
constexpr int64_t kEdge = 3;          // entries shown at either end of a summarised dimension
constexpr int64_t kLine = 80;

std::string formatted(const char* format, double value) {
  char buffer[400];  // the longest: %.4f of 1e308
  return std::string(buffer, size_t(std::snprintf(buffer, sizeof(buffer), format, value)));
}

// How all elements of one tensor are written: one format and one width.
class Format {
 public:
  explicit Format(DType dtype) : dtype_(dtype) {}

  // Looks at an element before anything is written.
  void see(double value) {
    const double magnitude = std::fabs(value);
    if (!std::isfinite(value) || magnitude == 0) return;
    largest_ = std::max(largest_, magnitude);
    smallest_ = std::min(smallest_, magnitude);
    whole_ = whole_ && value == std::trunc(value);
  }
  void choose() {
    if (largest_ == 0) return;  // nothing but zeros, inf and NaN
    const bool wide = largest_ / smallest_ > 1000 || largest_ > 1e8;
    scientific_ = wide || (!whole_ && smallest_ < 1e-4);
  }
  std::string text(double value) const {
    if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
    if (scientific_) return formatted("%.4e", value);
    return whole_ ? formatted("%.0f", value) + "." : formatted("%.4f", value);
  }
  std::string text(int64_t value) const {
    if (dtype_ == boolean) return value ? "true" : "false";
    return concat(long(value));
  }

 private:
  DType dtype_;
  double largest_ = 0, smallest_ = INFINITY;
  bool whole_ = true, scientific_ = false;
};

class Printer {
 public:
  explicit Printer(const Tensor& t)
      : given_(t),
        t_(t.device().is_cpu() ? t : t.detach().to(kCpu)),
        summary_(t.numel() > kThreshold),
        format_(t.dtype()) {}

  std::string run() {
    const bool empty = t_.numel() == 0;
    if (!empty) {
      if (is_floating(t_.dtype())) {
        visit(0, 0, [&](int64_t offset) { format_.see(read<double>(offset)); });
        format_.choose();
      }
      visit(0, 0, [&](int64_t offset) { width_ = std::max(width_, int64_t(text(offset).size())); });
      block(0, 0, int64_t(out_.size()));
    } else {
      out_ += "[]";
      if (t_.ndim() != 1) suffix(concat("size=", t_.shape()));
    }
    const DType usual = is_floating(t_.dtype()) ? f32 : i64;
    if (t_.dtype() != boolean && t_.dtype() != usual) suffix(concat("dtype=", t_.dtype()));
    if (!given_.device().is_cpu()) suffix(concat("device=", given_.device()));
    if (given_.requires_grad()) suffix("requires_grad=true");
    return out_ + ")";
  }

 private:
  template <class T>
  T read(int64_t offset) const {
    return visit_dtype(t_.dtype(), [&](auto zero) {
      using From = std::conditional_t<std::is_same_v<decltype(zero), bool>, uint8_t, decltype(zero)>;
      From value;
      std::memcpy(&value, static_cast<const char*>(t_.data_ptr()) + offset * int64_t(sizeof(From)), sizeof(From));
      if constexpr (std::is_class_v<From>)
        return T(float(value));
      else
        return T(value);
    });
  }
  std::string text(int64_t offset) const {
    return is_floating(t_.dtype()) ? format_.text(read<double>(offset)) : format_.text(read<int64_t>(offset));
  }

  bool cut(int64_t dim) const { return summary_ && t_.shape()[dim] > 2 * kEdge; }
  // The entry that is shown after entry i of a dimension.
  int64_t next(int64_t dim, int64_t i) const { return cut(dim) && i + 1 == kEdge ? t_.shape()[dim] - kEdge : i + 1; }

  template <class F>
  void visit(int64_t dim, int64_t offset, const F& f) const {
    if (dim == t_.ndim()) {
      f(offset);
      return;
    }
    for (int64_t i = 0; i < t_.shape()[dim]; i = next(dim, i)) visit(dim + 1, offset + i * t_.strides()[dim], f);
  }

  void block(int64_t dim, int64_t offset, int64_t indent) {
    if (dim == t_.ndim()) {
      pad(text(offset), t_.ndim() ? width_ : 0);
      return;
    }
    const bool last = dim + 1 == t_.ndim();
    const int64_t per_line = std::max<int64_t>(1, (kLine - indent) / (width_ + 2));
    int64_t in_line = 0;
    out_ += '[';
    for (int64_t i = 0; i < t_.shape()[dim];) {
      entry_break(dim, i, last && in_line == per_line, indent, in_line);
      block(dim + 1, offset + i * t_.strides()[dim], indent + 1);
      ++in_line;
      const int64_t following = next(dim, i);
      if (following != i + 1) {
        entry_break(dim, following, last && in_line == per_line, indent, in_line);
        out_ += last ? " ..." : "...";
        ++in_line;
      }
      i = following;
    }
    out_ += ']';
  }

  // What stands between two entries: a comma and a blank, or as many new lines as dimensions end.
  void entry_break(int64_t dim, int64_t i, bool wrap, int64_t indent, int64_t& in_line) {
    if (i == 0) return;
    const int64_t lines = t_.ndim() - dim - 1;
    if (lines == 0 && !wrap) {
      out_ += ", ";
      return;
    }
    out_ += ',';
    out_.append(size_t(std::max<int64_t>(lines, 1)), '\n');
    out_.append(size_t(indent + 1), ' ');
    in_line = 0;
  }

  void pad(const std::string& text, int64_t width) {
    if (int64_t(text.size()) < width) out_.append(size_t(width) - text.size(), ' ');
    out_ += text;
  }

  void suffix(const std::string& text) {
    const size_t line = out_.rfind('\n') == std::string::npos ? out_.size() : out_.size() - out_.rfind('\n') - 1;
    out_ += int64_t(line + text.size()) + 3 > kLine ? ",\n       " : ", ";
    out_ += text;
  }

  const Tensor& given_;
  const Tensor t_;  // on the host
  bool summary_;
  Format format_;
  int64_t width_ = 0;
  std::string out_ = "tensor(";
};

}  // namespace

std::string to_string(const Tensor& t) { return t.defined() ? Printer(t).run() : "tensor(undefined)"; }

std::ostream& operator<<(std::ostream& out, const Tensor& t) { return out << to_string(t); }
std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << to_string(shape); }
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name(dtype); }

}  // namespace tenrec
