// The same product by Tenrec and by the program's own Eigen, at sizes where both block and pack.
#include <Eigen/Dense>
#include <cmath>
#include <cstdio>

#include "tenrec/tenrec.h"

int main() {
  static_assert(Eigen::MatrixXf::IsRowMajor, "this program's Eigen has other settings");
  const int m = 70, k = 300, n = 90;
  tenrec::manual_seed(7);
  const tenrec::Tensor a = tenrec::randn({m, k}), b = tenrec::randn({k, n}), c = tenrec::matmul(a, b);
  const Eigen::Map<const Eigen::MatrixXf> ea(a.data<float>(), m, k), eb(b.data<float>(), k, n);
  const Eigen::MatrixXf ec = ea * eb;
  const Eigen::MatrixXf inverse = Eigen::MatrixXf(ea.leftCols(m)).inverse();  // more of Eigen than a product
  double worst = 0;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) worst = std::max(worst, std::abs(double(ec(i, j)) - c.item<double>(i, j)));
  const bool ok = worst < 1e-3 && worst >= 0 && inverse.allFinite();
  std::printf("%s: largest difference %g\n", ok ? "both Eigens agree" : "Eigens mix", worst);
  return ok ? 0 : 1;
}
