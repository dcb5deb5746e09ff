// Rows of the reliability programme: each is one test, which prints one line of JSON
// {"row", "figure", "passed", "total", "seed", "commit", "seconds"} and appends it to the file that TENREC_RELIABILITY
// names (`./dev test` collects build/reliability.jsonl).
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <string>

#include "tenrec/tenrec.h"

namespace tenrec::testing {

inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

inline void report_row(int row, const std::string& figure, int64_t passed, int64_t total, double seconds) {
  const char* commit = std::getenv("TENREC_COMMIT");
  const std::string line = concat("{\"row\":", row, ",\"figure\":\"", figure, "\",\"passed\":", passed,
                                  ",\"total\":", total, ",\"seed\":", default_generator().state().seed,
                                  ",\"commit\":\"", commit ? commit : "", "\",\"seconds\":", seconds, "}");
  std::printf("%s\n", line.c_str());
  if (const char* path = std::getenv("TENREC_RELIABILITY")) std::ofstream(path, std::ios::app) << line << "\n";
}

// Counts the checks of a row and reports it at the end.
class Row {
 public:
  Row(int number, std::string figure) : number_(number), figure_(std::move(figure)) {}
  ~Row() {
    report_row(number_, figure_, passed_, total_,
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
    EXPECT_GT(total_, 0);
  }
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;

  template <class... What>
  bool check(bool ok, const What&... what) {
    ++total_;
    passed_ += ok;
    if (!ok) ADD_FAILURE() << "row " << number_ << ": " << concat(what...);
    return ok;
  }
  // NaN is NaN, infinities have their sign, numbers are close.
  template <class... What>
  bool check_value(double got, double expected, double tolerance, const What&... what) {
    const bool ok = std::isnan(expected)   ? std::isnan(got)
                    : std::isinf(expected) ? got == expected
                                           : std::abs(got - expected) <= tolerance;
    return check(ok, what..., ": ", got, ", expected ", expected);
  }
  // That E is thrown, with `part` in its message.
  template <class E, class... What>
  void check_throws(const std::function<void()>& call, const std::string& part, const What&... what) {
    try {
      call();
    } catch (const E& e) {
      check(std::string(e.what()).find(part) != std::string::npos, what..., ": the message is ", e.what());
      return;
    } catch (const std::exception& e) {
      check(false, what..., ": another exception: ", e.what());
      return;
    }
    check(false, what..., ": nothing was thrown");
  }

 private:
  int number_;
  std::string figure_;
  int64_t passed_ = 0, total_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace tenrec::testing
