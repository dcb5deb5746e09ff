// The smallest workloads written out in plain loops: what a step costs when there is no framework at all. With
// --ceilings it prints what the machine can do at most, for the rows that arithmetic or memory bound.
#include <string>

#include "bench/ceilings.h"
#include "bench/harness.h"

namespace {

using namespace tenrec::bench;

typedef float Float8 __attribute__((vector_size(32)));
typedef int32_t Int8 __attribute__((vector_size(32)));

Float8 clamp(Float8 x, float bound) {
  const Float8 high = x * 0.f + bound;
  return x > high ? high : (x < -high ? -high : x);
}

// tanh by exp(2x) = 2^n e^r, to about 1e-6: enough for losses that are compared to 1e-4.
Float8 tanh8(Float8 x) {
  const Float8 z = clamp(x, 9.f) * 2.885390082f;                              // 2 / ln 2
  const Int8 n = __builtin_convertvector(z + 64.5f, Int8) - 64;               // floor(z + 1/2)
  const Float8 r = (z - __builtin_convertvector(n, Float8)) * 0.6931471806f;  // ln 2
  const Float8 p = 1.f + r * (1.f + r * (0.5f + r * (1.f / 6 + r * (1.f / 24 + r * (1.f / 120 + r * (1.f / 720))))));
  const Float8 e = p * reinterpret_cast<Float8>((n + 127) << 23);
  return (e - 1.f) / (e + 1.f);
}

float sum(Float8 v) { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }

class XorRunner : public Runner {
 public:
  explicit XorRunner(const Workload& w) : lr_(float(w.lr)), batch_(xor_batch()) {
    const std::vector<Parameter> p = initial_parameters(w);
    for (int j = 0; j < 8; ++j) {
      w0_[j] = p[0].values[size_t(2 * j)];
      w1_[j] = p[0].values[size_t(2 * j + 1)];
      b_[j] = p[1].values[size_t(j)];
      v_[j] = p[2].values[size_t(j)];
    }
    c_ = p[3].values[0];
  }
  double step(int64_t, bool) override {
    Float8 dw0 = {}, dw1 = {}, db = {}, dv = {};
    float dc = 0, loss = 0;
    for (size_t s = 0; s < 4; ++s) {
      const float x0 = batch_.inputs[2 * s], x1 = batch_.inputs[2 * s + 1];
      const Float8 h = tanh8(w0_ * x0 + w1_ * x1 + b_);
      const float error = sum(v_ * h) + c_ - batch_.targets[s];
      loss += error * error / 4;
      const float dy = error / 2;
      const Float8 da = dy * v_ * (1.f - h * h);
      dv += dy * h;
      dc += dy;
      dw0 += da * x0;
      dw1 += da * x1;
      db += da;
    }
    w0_ -= lr_ * dw0;
    w1_ -= lr_ * dw1;
    b_ -= lr_ * db;
    v_ -= lr_ * dv;
    c_ -= lr_ * dc;
    return loss;
  }

 private:
  float lr_, c_;
  Batch batch_;
  Float8 w0_, w1_, b_, v_;
};

class ChainRunner : public Runner {
 public:
  double step(int64_t, bool want_loss) override {
    typedef float Float4 __attribute__((vector_size(16)));
    const auto load = [](const std::vector<float>& v) { return Float4{v[0], v[1], v[2], v[3]}; };
    const Float4 c = load(chain_.c), d = load(chain_.d);
    Float4 y = load(chain_.x), dy = {1, 1, 1, 1};
    for (int64_t k = 0; k < kChainPairs; ++k) y = y * c + d;
    for (int64_t k = 0; k < kChainPairs; ++k) dy *= c;
    asm volatile("" : : "x"(y), "x"(dy));
    if (want_loss)
      for (int i = 0; i < 4; ++i) chain_.x[size_t(i)] -= kChainLearningRate * dy[i];
    return (y[0] + y[1]) + (y[2] + y[3]);
  }

 private:
  Chain chain_ = chain_operands();
};

// With one thread and with all.
template <class F>
std::string both(F&& measure) {
  std::string out = "[";
  out += std::to_string(measure(1));
  out += ", ";
  out += std::to_string(measure(int(std::max(1u, std::thread::hardware_concurrency()))));
  return out += "]";
}

std::string ceilings() {
  std::string out = "{\"threads\": " + both([](int threads) { return threads; });
  out += ", \"gflops\": " + both(peak_gflops) + ", \"bandwidth\": [";
  for (const int shift : {19, 23, 27}) {
    const int64_t footprint = int64_t{1} << shift;
    if (shift > 19) out += ", ";
    out += "{\"footprint\": " + std::to_string(footprint) + ", \"gbs\": ";
    out += both([&](int threads) { return bandwidth_gbs(threads, footprint); }) + "}";
  }
  return out + "]}";
}

std::unique_ptr<Runner> make(const Workload& w, const Options&) {
  if (w.name == "xor") return std::make_unique<XorRunner>(w);
  if (w.name == "chain") return std::make_unique<ChainRunner>();
  throw std::invalid_argument(w.name + " is not written by hand; --ceilings bounds it");
}

}  // namespace

int main(int argc, char** argv) {
  return bench_main(argc, argv,
                    {.name = "by_hand",
                     .set_threads = [](int) {},
                     .num_threads = [] { return 1; },
                     .make = make,
                     .ceilings = ceilings});
}
