// NIST's Statistical Reference Datasets for nonlinear regression (https://www.itl.nist.gov/div898/strd/): models, and a
// reader for their .dat files.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tenrec/core/tensor.h"

namespace examples::nist {

struct Dataset {
  std::vector<double> start[2], certified;  // of the parameters b1, b2, ...
  double sum_of_squares = 0;                // of the residuals there
  std::vector<tenrec::Tensor> columns;      // y, then x or several; f64 vectors
};
// IOError for a file that is missing or has not all of that.
Dataset read(const std::string& path);

enum class Difficulty { lower, average, higher };
struct Problem {
  const char* name;  // of the file, without .dat
  Difficulty difficulty;
  // What is left between model and data at parameters b, [n].
  std::function<tenrec::Tensor(const tenrec::Tensor& b, const Dataset& data)> residuals;
};
// All 27, in NIST's order.
const std::vector<Problem>& problems();

// Digits that agree with a certified value: -log10 of the relative error, at most 11, which is what is certified.
double digits(double value, double certified);

}  // namespace examples::nist
