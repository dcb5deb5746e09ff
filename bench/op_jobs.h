// What is timed: the rows of the case table at their sizes, and what is found of each. Shared by the two ways of
// timing: op_bench.cpp on the CPU, op_bench_cuda.cpp on a device.
#pragma once

#include <algorithm>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "op_cases/op_case.h"

namespace tenrec::bench {

using testing::Input;
using testing::OpCase;

struct Flags {
  std::string filter = ".", sizes, json;
  std::vector<std::string> dtypes = {"f32"};
  int threads = 0;
  double min_time = 0.1;
  bool list = false;
  bool device = false;  // on CUDA
  double seconds = 0;   // on CUDA: no row is begun after so long; 0: all are
};

// One thing to time.
struct Job {
  const OpCase* row;
  Shape shape;
  DType dtype;
  bool gradient;
  std::string name;
  std::vector<Input> inputs() const {
    return row->bench.inputs ? row->bench.inputs(shape) : std::vector<Input>{{.shape = shape}};
  }
  // For other dtypes than f32 as if all that moves were of that dtype.
  double bytes() const {
    return row->bench.bytes_per_element * double(checked_numel(shape)) * double(size_of(dtype)) / 4;
  }
  double flops() const {
    return row->bench.flops ? row->bench.flops(shape) : row->bench.flops_per_element * double(checked_numel(shape));
  }
};

struct Result {
  double us = 0, error = 0, bound = 0;
  std::string refused;  // why it was not timed
};

inline std::string to_text(const Shape& shape) {
  std::string text;
  for (const int64_t n : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(n);
  }
  return text;
}

inline std::vector<Shape> parse_sizes(const std::string& text) {
  std::vector<Shape> shapes;
  std::stringstream list(text);
  for (std::string one; std::getline(list, one, ',');) {
    std::vector<int64_t> sizes;
    std::stringstream parts(one);
    for (std::string part; std::getline(parts, part, 'x');) {
      size_t used = 0;
      const long long n = part.empty() ? -1 : std::stoll(part, &used);
      if (n < 0 || used != part.size()) throw std::invalid_argument("--sizes: '" + one + "' is not like 64x784");
      sizes.push_back(n);
    }
    shapes.push_back(Shape(std::span<const int64_t>(sizes)));
  }
  return shapes;
}

inline DType parse_dtype(const std::string& text) {
  for (const DType dtype : {f32, f64, bf16, f16})
    if (text == name(dtype)) return dtype;
  throw std::invalid_argument("--dtype: '" + text + "' is none of f32, f64, bf16, f16");
}

inline std::string name_of(const Job& job) {
  return concat(job.row->op, job.row->variant.empty() ? "" : " (" + job.row->variant + ")",
                job.gradient ? " grad " : " ", to_text(job.shape), " ", name(job.dtype));
}

inline std::vector<Job> make_jobs(const Flags& flags) {
  std::vector<Job> jobs;
  const std::regex wanted(flags.filter);
  const std::vector<Shape> sizes = parse_sizes(flags.sizes);
  for (const OpCase& row : testing::op_cases())
    for (const Shape& shape : sizes.empty() ? row.bench.shapes : sizes)
      for (const std::string& text : flags.dtypes)
        for (const bool gradient : {false, true}) {
          const DType dtype = parse_dtype(text);
          // A row's sizes have a meaning (batch, channels, ...): others fit if they are as many.
          if (row.bench.shapes.empty() || shape.ndim() != row.bench.shapes[0].ndim()) continue;
          if (std::find(row.dtypes.begin(), row.dtypes.end(), dtype) == row.dtypes.end()) continue;
          if (gradient && !row.differentiable) continue;
          Job job{&row, shape, dtype, gradient, {}};
          job.name = name_of(job);
          if (std::regex_search(job.name, wanted)) jobs.push_back(std::move(job));
        }
  return jobs;
}

// The row's bound is for its own small inputs. A sum of n terms has n roundings, each of a partial sum that itself
// grows as the root of n: as random walks go, n times the error of one.
inline double bound_of(const Job& job, int64_t outputs) {
  const double terms = job.flops() / double(std::max<int64_t>(1, outputs));
  return testing::tolerance(*job.row, job.dtype) * std::max(1., terms / 32);
}

// The rows on the device, validated and timed; the program's exit status.
int run_on_device(const Flags& flags, std::vector<Job> jobs);

}  // namespace tenrec::bench
