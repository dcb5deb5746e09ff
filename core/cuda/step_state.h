// What a captured step means to the rest of the runtime and to launchers of kernels. Internal; see core/step_graph.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>
#include <vector>

#include "tenrec/core/random.h"
#include "tenrec/core/step_graph.h"

namespace tenrec::cuda {

namespace detail {

struct Block;

// The step that the calling thread runs, records or repeats.
struct StepState {
  enum class Phase : uint8_t { running, recording, repeating };
  Phase phase = Phase::running;
  int pool = 0;
  bool in_action = false;  // an action that will be repeated is being done for the first time
  int changing = 0;        // launches under way whose numbers change
  GeneratorState random = {};
  char* numbers = nullptr;  // on the device
  std::vector<char> staged = {};
  std::vector<Block*> held = {};
  struct Repeated {
    HostAction action;
    std::function<HostAction()> state;
  };
  std::vector<Repeated> actions = {};
  std::vector<HostAction> undo = {};
};
inline thread_local constinit StepState* current_step = nullptr;

inline bool recording() { return current_step && current_step->phase == StepState::Phase::recording; }
// CaptureError while a step is recorded: "item: a captured step cannot ...".
void refuse_while_recording(const char* what);
// CaptureError for a launch whose arguments would be wrong when it is replayed, or that a repeated action makes.
void check_launch();

// Where the value will lie on the device, and whether its kernel is to be launched.
struct Place {
  const void* device = nullptr;
  bool launches = true;
};
Place place_number(const void* value, size_t bytes, size_t align);

}  // namespace detail

// An argument of a kernel that changes from replay to replay: kernels read get(). The launch is made while this lives,
// if launches() says so.
template <class T>
class Changing {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  struct Argument {
    T value;
    const T* place;
    TENREC_HD const T& get() const { return place ? *place : value; }
  };

  explicit Changing(const T& value) : argument_{value, nullptr} {
    if (!detail::current_step) return;
    const detail::Place place = detail::place_number(&value, sizeof(T), alignof(T));
    argument_.place = static_cast<const T*>(place.device);
    launches_ = place.launches;
    ++detail::current_step->changing;
  }
  ~Changing() {
    if (detail::current_step) --detail::current_step->changing;
  }
  Changing(const Changing&) = delete;
  Changing& operator=(const Changing&) = delete;
  bool launches() const { return launches_; }
  const Argument& argument() const { return argument_; }

 private:
  Argument argument_;
  bool launches_ = true;
};

// A generator's state as a kernel reads it: that of the launch or, in a captured step, so many draws after that of the
// replay.
struct RandomKey {
  GeneratorState state;
  const GeneratorState* replay = nullptr;
  TENREC_HD GeneratorState get() const {
    return replay ? GeneratorState{replay->seed, replay->offset + state.offset} : state;
  }
};
// CaptureError, in a captured step, unless the state is one of the thread's default generator.
RandomKey random_key(GeneratorState state);

}  // namespace tenrec::cuda
