// The one case table: what is known of every op, as data. The suite and the op bench read the same rows.
//
// From each row the suite runs: forward against a naive float64 reference, in every dtype of the row; gradcheck and
// gradcheck of the gradient; contiguous, transposed, sliced and expanded inputs; 1, 2, 3, 4 and 8 threads bit for bit;
// the row's bad calls and their messages. An op that `record` has seen without a row fails the suite.
//
// To add a row, append it in the family's file: `add({.op = "softmax", .variant = "last dim", ...});`
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tenrec/tenrec.h"

namespace tenrec::testing {

// How one input is made.
struct Input {
  Shape shape;
  double low = -2, high = 2;                         // uniform in [low, high); integers in [low, high]
  enum Kind { real, integer, boolean } kind = real;  // real inputs take the dtype under test
  std::vector<double> values = {};                   // if given: exactly these (ties, kinks, extremes), row-major
  bool differentiable = true;                        // real inputs only: wants a gradient
};

// A float64 array for references.
struct Array {
  Shape shape;
  std::vector<double> values;
  double at(std::initializer_list<int64_t> index) const {
    int64_t offset = 0, d = 0;
    for (int64_t i : index) offset = offset * shape[d++] + i;
    return values[size_t(offset)];
  }
};

using Function = std::function<std::vector<Tensor>(std::span<const Tensor>)>;
// Naive, written from the definition, sharing no code with the library. Returns one Array per output.
using Reference = std::function<std::vector<Array>(std::span<const Array>)>;

// Largest |y - reference| / max(1, |reference|). Rounding of the inputs is not counted: they are rounded first.
struct Tolerance {
  double f64 = 1e-12, f32 = 2e-6, bf16 = 1e-2, f16 = 2e-3;
};

// A call that must throw a tenrec::Error whose message holds `message`.
struct BadCall {
  std::function<void()> call;
  std::string message;
};

struct Bench {
  std::vector<Shape> shapes = {};  // of the first input; others follow by `inputs`
  std::function<std::vector<Input>(const Shape&)> inputs = {};
  double bytes_per_element = 0;  // moved, f32, per element of the first input
  double flops_per_element = 0;
  std::function<double(const Shape&)> flops = {};  // in all, where they are not so many per element
};

struct OpCase {
  std::string op;  // the name that `record` is given
  std::string variant = "";
  std::vector<Input> inputs;
  Function f;
  Reference reference = {};  // empty only for random or layout-only ops, with `why_no_reference`
  std::string why_no_reference = "";
  Tolerance tolerance = {};
  std::vector<DType> dtypes = {f64, f32, bf16, f16};  // under test; rows of integer inputs only: leave as is
  bool differentiable = true;
  bool kinked = false;                        // derivative undefined at some points: gradcheck uses the inputs as given
  int order = 2;                              // derivatives checked
  std::vector<std::string> also_covers = {};  // internal ops this row makes `record` see (relu_grad, slice_grad)
  std::vector<BadCall> bad = {};
  Bench bench = {};
};

// All rows, built once.
const std::vector<OpCase>& op_cases();

// One per family file.
using Add = std::function<void(OpCase)>;
void add_elementwise_cases(const Add& add);
void add_activation_cases(const Add& add);
void add_reduce_cases(const Add& add);
void add_softmax_cases(const Add& add);
void add_norm_cases(const Add& add);
void add_attention_cases(const Add& add);
void add_shape_cases(const Add& add);
void add_index_cases(const Add& add);
void add_sort_cases(const Add& add);
void add_random_cases(const Add& add);
void add_matmul_cases(const Add& add);
void add_linear_cases(const Add& add);
void add_conv_cases(const Add& add);
void add_pool_cases(const Add& add);
void add_recurrent_cases(const Add& add);

// The row's tolerance in a dtype, and the dtypes it is tested in.
double tolerance(const OpCase& c, DType dtype);
bool has_real_input(const OpCase& c);
std::vector<DType> dtypes_of(const OpCase& c);
// |got - expected| / max(1, |expected|); NaN equals NaN, infinities must be equal.
double error_of(double got, double expected);

// New tensors are made on a device until the end of the scope.
struct DeviceScope {
  explicit DeviceScope(Device device) { set_default_device(device); }
  ~DeviceScope() { set_default_device(kCpu); }
};

// The tensors of a row: deterministic in (row, seed), rounded to `dtype`.
std::vector<Tensor> make_inputs(const std::vector<Input>& inputs, DType dtype, uint64_t seed);
// A tensor as a float64 array.
Array to_array(const Tensor& t);

// Helpers for references of elementwise ops with broadcasting.
Array map_array(const Array& x, const std::function<double(double)>& f);
Array zip_array(const Array& a, const Array& b, const std::function<double(double, double)>& f);

}  // namespace tenrec::testing
