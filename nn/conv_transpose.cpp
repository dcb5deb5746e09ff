#include "tenrec/nn/conv_transpose.h"

#include "tenrec/nn/conv_impl.h"

namespace tenrec {

using detail::check_channels;
using detail::conv_parameter;

ConvTranspose2d::ConvTranspose2d(int64_t in, int64_t out, Pair kernel, const ConvTranspose2dOptions& o)
    : params_{o.stride, o.padding, o.output_padding, o.dilation, o.groups} {
  check_channels("ConvTranspose2d", in, out, o.groups);
  const int64_t fan = out / o.groups * kernel.h * kernel.w;
  weight = conv_parameter({in, out / o.groups, kernel.h, kernel.w}, fan);
  if (o.bias) bias = conv_parameter({out}, fan);
}

Tensor ConvTranspose2d::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return conv_transpose2d(x, weight, bias, params_);
}

void ConvTranspose2d::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

std::string ConvTranspose2d::details() const {
  const Shape& s = weight.shape();
  return concat(s[0], " -> ", s[1] * params_.groups, ", ", s[2], "x", s[3]);
}

ConvTranspose1d::ConvTranspose1d(int64_t in, int64_t out, int64_t kernel, const ConvTranspose1dOptions& o)
    : params_{o.stride, o.padding, o.output_padding, o.dilation, o.groups} {
  check_channels("ConvTranspose1d", in, out, o.groups);
  const int64_t fan = out / o.groups * kernel;
  weight = conv_parameter({in, out / o.groups, kernel}, fan);
  if (o.bias) bias = conv_parameter({out}, fan);
}

Tensor ConvTranspose1d::operator()(const Tensor& x) const {
  const ModuleScope scope(*this);
  return conv_transpose1d(x, weight, bias, params_);
}

void ConvTranspose1d::visit(Visitor& v) {
  v("weight", weight);
  v("bias", bias);
}

std::string ConvTranspose1d::details() const {
  const Shape& s = weight.shape();
  return concat(s[0], " -> ", s[1] * params_.groups, ", ", s[2]);
}

}  // namespace tenrec
