// NIST's Statistical Reference Datasets for nonlinear regression (https://www.itl.nist.gov/div898/strd/): models, and a
// reader for their .dat files.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <sstream>
#include <string>
#include <vector>

#include "tenrec/core/bounded_reader.h"
#include "tenrec/tenrec.h"

namespace examples::nist {

struct Dataset {
  std::vector<double> start[2], certified;  // of the parameters b1, b2, ...
  double sum_of_squares = 0;                // of the residuals there
  std::vector<tenrec::Tensor> columns;      // y, then x or several; f64 vectors
};

enum class Difficulty { lower, average, higher };
struct Problem {
  const char* name;  // of the file, without .dat
  Difficulty difficulty;
  // What is left between model and data at parameters b, [n].
  std::function<tenrec::Tensor(const tenrec::Tensor& b, const Dataset& data)> residuals;
};

namespace detail {

using namespace tenrec;

using Model = std::function<Tensor(const Tensor& b, const Tensor& x)>;

inline Tensor number(double v) { return scalar(v, {.dtype = f64}); }

inline Tensor decays(const Tensor& b, const Tensor& x) {
  return b[0] * exp(-b[1] * x) + b[2] * exp(-b[3] * x) + b[4] * exp(-b[5] * x);
}
inline Tensor peaks(const Tensor& b, const Tensor& x) {
  return b[0] * exp(-b[1] * x) + b[2] * exp(-square((x - b[3]) / b[4])) + b[5] * exp(-square((x - b[6]) / b[7]));
}
// Polynomials of these degrees, the lower one's constant being 1.
inline Model quotient(int64_t above, int64_t below) {
  return [=](const Tensor& b, const Tensor& x) {
    Tensor top = b[0], bottom = number(1);
    for (int64_t i = 1; i <= above; ++i) top = top + b[i] * pow(x, i);
    for (int64_t i = 1; i <= below; ++i) bottom = bottom + b[above + i] * pow(x, i);
    return top / bottom;
  };
}
inline Tensor saturation(const Tensor& b, const Tensor& x) { return b[0] * (1 - exp(-b[1] * x)); }
inline Tensor chwirut(const Tensor& b, const Tensor& x) { return exp(-b[0] * x) / (b[1] + b[2] * x); }
inline Tensor enso(const Tensor& b, const Tensor& x) {
  const auto wave = [&](const Tensor& period, const Tensor& c, const Tensor& s) {
    const Tensor angle = x * (2 * std::numbers::pi) / period;
    return c * cos(angle) + s * sin(angle);
  };
  return b[0] + wave(number(12), b[1], b[2]) + wave(b[3], b[4], b[5]) + wave(b[6], b[7], b[8]);
}

inline Problem problem(const char* name, Difficulty difficulty, const Model& model) {
  return {name, difficulty,
          [model](const Tensor& b, const Dataset& data) { return model(b, data.columns[1]) - data.columns[0]; }};
}

inline std::vector<Problem> all() {
  using enum Difficulty;
  return {
      problem("Misra1a", lower, saturation),
      problem("Chwirut2", lower, chwirut),
      problem("Chwirut1", lower, chwirut),
      problem("Lanczos3", lower, decays),
      problem("Gauss1", lower, peaks),
      problem("Gauss2", lower, peaks),
      problem("DanWood", lower, [](const Tensor& b, const Tensor& x) { return b[0] * pow(x, b[1]); }),
      problem("Misra1b", lower,
              [](const Tensor& b, const Tensor& x) { return b[0] * (1 - pow(1 + b[1] * x / 2, -2)); }),
      problem("Kirby2", average, quotient(2, 2)),
      problem("Hahn1", average, quotient(3, 3)),
      // Two variables, and the logarithm of y.
      {"Nelson", average,
       [](const Tensor& b, const Dataset& data) {
         return b[0] - b[1] * data.columns[1] * exp(-b[2] * data.columns[2]) - log(data.columns[0]);
       }},
      problem("MGH17", average,
              [](const Tensor& b, const Tensor& x) { return b[0] + b[1] * exp(-x * b[3]) + b[2] * exp(-x * b[4]); }),
      problem("Lanczos1", average, decays),
      problem("Lanczos2", average, decays),
      problem("Gauss3", average, peaks),
      problem("Misra1c", average,
              [](const Tensor& b, const Tensor& x) { return b[0] * (1 - rsqrt(1 + b[1] * x * 2)); }),
      problem("Misra1d", average, [](const Tensor& b, const Tensor& x) { return b[0] * b[1] * x / (1 + b[1] * x); }),
      problem("Roszman1", average,
              [](const Tensor& b, const Tensor& x) {
                return b[0] - b[1] * x - atan(b[2] / (x - b[3])) / std::numbers::pi;
              }),
      problem("ENSO", average, enso),
      problem("MGH09", higher,
              [](const Tensor& b, const Tensor& x) { return b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3]); }),
      problem("Thurber", higher, quotient(3, 3)),
      problem("BoxBOD", higher, saturation),
      problem("Rat42", higher, [](const Tensor& b, const Tensor& x) { return b[0] / (1 + exp(b[1] - b[2] * x)); }),
      problem("MGH10", higher, [](const Tensor& b, const Tensor& x) { return b[0] * exp(b[1] / (x + b[2])); }),
      problem("Eckerle4", higher,
              [](const Tensor& b, const Tensor& x) { return b[0] / b[1] * exp(square((x - b[2]) / b[1]) * -0.5); }),
      problem("Rat43", higher,
              [](const Tensor& b, const Tensor& x) { return b[0] / pow(1 + exp(b[1] - b[2] * x), 1 / b[3]); }),
      problem("Bennett5", higher, [](const Tensor& b, const Tensor& x) { return b[0] * pow(b[1] + x, -1 / b[2]); })};
}

}  // namespace detail

// All 27, in NIST's order.
inline const std::vector<Problem>& problems() {
  static const std::vector<Problem> list = detail::all();
  return list;
}

// IOError for a file that is missing or has not all of that. Lines "b1 = start1 start2 certified deviation", the
// residual sum of squares, and behind the second "Data:" the rows of y and x.
inline Dataset read(const std::string& path) {
  const std::vector<uint8_t> bytes = tenrec::read_file(path, 1 << 22);
  std::istringstream in(std::string(bytes.begin(), bytes.end()));
  Dataset data;
  std::vector<std::vector<double>> columns;
  int data_lines = 0;
  bool has_sum = false;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name, equals;
    if (line.starts_with("Data:")) {
      ++data_lines;
    } else if (data_lines == 2) {
      std::vector<double> row;
      for (double v = 0; words >> v;) row.push_back(v);
      if (row.empty()) continue;
      if (columns.empty()) columns.resize(row.size());
      if (row.size() != columns.size())
        tenrec::fail<tenrec::IOError>(path, ": a row of ", row.size(), " numbers among rows of ", columns.size());
      for (size_t i = 0; i < row.size(); ++i) columns[i].push_back(row[i]);
    } else if (line.starts_with("Residual Sum of Squares:")) {
      has_sum = bool(std::istringstream(line.substr(24)) >> data.sum_of_squares);
    } else if (words >> name >> equals && name[0] == 'b' && equals == "=") {
      double first = 0, second = 0, value = 0;
      if (!(words >> first >> second >> value)) continue;  // a line of the model
      data.start[0].push_back(first);
      data.start[1].push_back(second);
      data.certified.push_back(value);
    }
  }
  if (data.certified.empty() || !has_sum || columns.size() < 2)
    tenrec::fail<tenrec::IOError>(
        path, ": is no data set of NIST: parameters, residual sum of squares and rows of y and x are needed");
  for (const std::vector<double>& c : columns) data.columns.push_back(tenrec::from_vector(c, {int64_t(c.size())}));
  return data;
}

// Digits that agree with a certified value: -log10 of the relative error, at most 11, which is what is certified.
inline double digits(double value, double certified) {
  const double error = std::abs(value - certified) / std::abs(certified);
  return error == 0 ? 11 : std::min(11.0, -std::log10(error));
}

struct Fit {
  double parameters = 11, sum_of_squares = 0;  // digits: of the worst parameter, and of the sum
  tenrec::StepResult result = {};
};
// By Levenberg-Marquardt from the first or the second start (1, 2).
inline Fit fit(const Problem& p, const Dataset& data, int start) {
  const std::vector<double>& from = data.start[start - 1];
  const tenrec::Tensor b = tenrec::from_vector(from, {int64_t(from.size())}).set_requires_grad(true);
  tenrec::LevenbergMarquardt optimizer({b});
  Fit found;
  found.result = minimize(optimizer, [&] { return p.residuals(b, data); }, {.max_steps = 3000});
  for (size_t i = 0; i < from.size(); ++i)
    found.parameters = std::min(found.parameters, digits(b.item<double>(int64_t(i)), data.certified[i]));
  found.sum_of_squares = digits(2 * found.result.loss, data.sum_of_squares);
  return found;
}

}  // namespace examples::nist
