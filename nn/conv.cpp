#include "tenrec/nn/conv.h"

#include <cmath>

#include "tenrec/nn/init.h"

namespace tenrec {
namespace {

void check(const char* layer, int64_t in, int64_t out, int64_t groups) {
  if (in < 1 || out < 1 || groups < 1 || in % groups != 0 || out % groups != 0)
    fail<ValueError>(layer, ": ", in, " input and ", out, " output channels do not divide into ", groups, " groups");
}

Tensor parameter(const Shape& shape, int64_t fan_in) {
  const double bound = fan_in > 0 ? 1 / std::sqrt(double(fan_in)) : 0;
  Tensor t = init::uniform_(empty(shape), -bound, bound);
  return t.set_requires_grad(true);
}

}  // namespace

Conv2d::Conv2d(int64_t in, int64_t out, Pair kernel, const Conv2dOptions& o)
    : params_{o.stride, o.padding, o.dilation, o.groups} {
  check("Conv2d", in, out, o.groups);
  const int64_t fan_in = in / o.groups * kernel.h * kernel.w;
  weight = parameter({out, in / o.groups, kernel.h, kernel.w}, fan_in);
  if (o.bias) bias = parameter({out}, fan_in);
}

Tensor Conv2d::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return conv2d(x, weight, bias, params_);
}

void Conv2d::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

std::string Conv2d::details() const {
  const Shape& s = weight.shape();
  return concat(s[1] * params_.groups, " -> ", s[0], ", ", s[2], "x", s[3]);
}

Conv1d::Conv1d(int64_t in, int64_t out, int64_t kernel, const Conv1dOptions& o)
    : params_{o.stride, o.padding, o.dilation, o.groups} {
  check("Conv1d", in, out, o.groups);
  weight = parameter({out, in / o.groups, kernel}, in / o.groups * kernel);
  if (o.bias) bias = parameter({out}, in / o.groups * kernel);
}

Tensor Conv1d::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return conv1d(x, weight, bias, params_);
}

void Conv1d::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

std::string Conv1d::details() const {
  const Shape& s = weight.shape();
  return concat(s[1] * params_.groups, " -> ", s[0], ", ", s[2]);
}

}  // namespace tenrec
