#include "tenrec/nn/init.h"

#include <algorithm>
#include <cmath>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops.h"

namespace tenrec::init {
namespace {

struct Fans {
  double in, out;
};

Fans fans_of(const char* name, const Tensor& x) {
  if (x.ndim() < 2) fail<ShapeError>(name, ": a weight needs at least two dimensions, got ", x.shape());
  double area = 1;
  for (int64_t d = 2; d < x.ndim(); ++d) area *= double(x.shape()[d]);
  return {double(x.shape()[1]) * area, double(x.shape()[0]) * area};
}

double kaiming_std(const char* name, const Tensor& x, const KaimingOptions& o) {
  const Fans fans = fans_of(name, x);
  const double gain = o.relu ? std::sqrt(2 / (1 + o.slope * o.slope)) : 1;
  return gain / std::sqrt(o.fan == Fan::in ? fans.in : fans.out);
}

}  // namespace

const Tensor& constant_(const Tensor& x, double value) {
  const NoGrad off;
  return fill_(x, value);
}
const Tensor& zeros_(const Tensor& x) { return constant_(x, 0); }
const Tensor& ones_(const Tensor& x) { return constant_(x, 1); }
const Tensor& uniform_(const Tensor& x, double low, double high) {
  const NoGrad off;
  return tenrec::uniform_(x, low, high);
}
const Tensor& normal_(const Tensor& x, double mean, double std) {
  const NoGrad off;
  return tenrec::normal_(x, mean, std);
}
const Tensor& trunc_normal_(const Tensor& x, double mean, double std, double low, double high) {
  const NoGrad off;
  return tenrec::trunc_normal_(x, mean, std, low, high);
}

const Tensor& xavier_uniform_(const Tensor& x, double gain) {
  const Fans fans = fans_of("xavier_uniform_", x);
  const double bound = gain * std::sqrt(6 / (fans.in + fans.out));
  return init::uniform_(x, -bound, bound);
}
const Tensor& xavier_normal_(const Tensor& x, double gain) {
  const Fans fans = fans_of("xavier_normal_", x);
  return init::normal_(x, 0, gain * std::sqrt(2 / (fans.in + fans.out)));
}
const Tensor& kaiming_uniform_(const Tensor& x, const KaimingOptions& options) {
  const double bound = std::sqrt(3.0) * kaiming_std("kaiming_uniform_", x, options);
  return init::uniform_(x, -bound, bound);
}
const Tensor& kaiming_normal_(const Tensor& x, const KaimingOptions& options) {
  return init::normal_(x, 0, kaiming_std("kaiming_normal_", x, options));
}
const Tensor& lecun_normal_(const Tensor& x) {
  return init::normal_(x, 0, 1 / std::sqrt(fans_of("lecun_normal_", x).in));
}
const Tensor& lecun_uniform_(const Tensor& x) {
  const double bound = std::sqrt(3 / fans_of("lecun_uniform_", x).in);
  return init::uniform_(x, -bound, bound);
}

const Tensor& orthogonal_(const Tensor& x, double gain) {
  const NoGrad off;
  fans_of("orthogonal_", x);
  const int64_t rows = x.shape()[0], cols = rows ? x.numel() / rows : 0;
  const int64_t count = std::min(rows, cols), length = std::max(rows, cols);
  const std::vector<double> draws = randn({count, length}, {.dtype = f64}).to_vector<double>();
  // Modified Gram-Schmidt, twice over: the second pass removes what rounding left.
  std::vector<double> q = draws;
  const auto row = [&](int64_t i) { return q.data() + i * length; };
  for (int64_t i = 0; i < count; ++i) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t j = 0; j < i; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < length; ++k) dot += row(i)[k] * row(j)[k];
        for (int64_t k = 0; k < length; ++k) row(i)[k] -= dot * row(j)[k];
      }
    }
    double square = 0;
    for (int64_t k = 0; k < length; ++k) square += row(i)[k] * row(i)[k];
    for (int64_t k = 0; k < length; ++k) row(i)[k] *= gain / std::sqrt(square);
  }
  const Tensor basis = from_vector(q, {count, length});
  return copy_(x, reshape(rows <= cols ? basis : t(basis), x.shape()));
}

const Tensor& sparse_(const Tensor& x, double sparsity, double std) {
  const NoGrad off;
  if (x.ndim() != 2) fail<ShapeError>("sparse_: expected a matrix, got ", x.shape());
  if (!(sparsity >= 0 && sparsity <= 1)) fail<ValueError>("sparse_: sparsity must lie in [0, 1], got ", sparsity);
  init::normal_(x, 0, std);
  const int64_t rows = x.shape()[0], zeros = int64_t(std::ceil(sparsity * double(rows)));
  for (int64_t c = 0; c < x.shape()[1]; ++c) {
    const Tensor order = randperm(rows);
    for (int64_t i = 0; i < zeros; ++i) fill_(select(select(x, 1, c), 0, order.item<int64_t>(i)), 0);
  }
  return x;
}

const Tensor& eye_(const Tensor& x) {
  const NoGrad off;
  if (x.ndim() != 2) fail<ShapeError>("eye_: expected a matrix, got ", x.shape());
  return copy_(x, eye(x.shape()[0], x.shape()[1], {.dtype = x.dtype(), .device = x.device()}));
}

const Tensor& dirac_(const Tensor& x, int64_t groups) {
  const NoGrad off;
  if (x.ndim() < 3) fail<ShapeError>("dirac_: expected a convolution weight, got ", x.shape());
  if (groups < 1 || x.shape()[0] % groups != 0)
    fail<ValueError>("dirac_: ", x.shape()[0], " output channels do not divide into ", groups, " groups");
  fill_(x, 0);
  const int64_t per_group = x.shape()[0] / groups;
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t c = 0; c < std::min(per_group, x.shape()[1]); ++c) {
      Tensor centre = select(select(x, 0, g * per_group + c), 0, c);
      while (centre.ndim() > 0) centre = select(centre, 0, centre.shape()[0] / 2);
      fill_(centre, 1);
    }
  return x;
}

}  // namespace tenrec::init
