#include "tenrec/nn/conv.h"

#include "tenrec/nn/conv_impl.h"
#include "tenrec/nn/layer_observer.h"

namespace tenrec {

using detail::check_channels;
using detail::conv_parameter;

Conv2d::Conv2d(int64_t in, int64_t out, Pair kernel, const Conv2dOptions& o)
    : params_{o.stride, o.padding, o.dilation, o.groups} {
  check_channels("Conv2d", in, out, o.groups);
  const int64_t fan_in = in / o.groups * kernel.h * kernel.w;
  weight = conv_parameter({out, in / o.groups, kernel.h, kernel.w}, fan_in);
  if (o.bias) bias = conv_parameter({out}, fan_in);
}

Tensor Conv2d::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return detail::observed(weight, x, conv2d(x, weight, bias, params_), &params_);
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
  check_channels("Conv1d", in, out, o.groups);
  weight = conv_parameter({out, in / o.groups, kernel}, in / o.groups * kernel);
  if (o.bias) bias = conv_parameter({out}, in / o.groups * kernel);
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
