// The tape: who made a tensor, and how its gradient goes back.
//
// An op computes its output with a kernel and then calls `record`, which makes a Node if recording is on and an input
// wants a gradient. A node holds
//   - an edge per input: the node that made that input, or the leaf itself, or nothing;
//   - what its rule will read: exactly the inputs and outputs that were declared, each with the version of its storage;
//   - the rule, a function from the output's cotangent to the inputs' gradients, written with differentiable ops.
// Node, edges, saved list and rule are one block from the caching allocator.
//
// Ownership. A tensor owns the node that made it; a node owns its edges and saved inputs. An output that the rule wants
// to read is saved as a second header over the same storage, without the node, so there are no cycles; the node is put
// back when the rule runs with recording on. Everything is reference counted and destroyed in a loop, never by
// recursion: a chain of a million nodes needs no stack.
//
// Order. Nodes are numbered as they are made. A node is made after the nodes of its inputs, so going through the
// numbers downwards is a topological order: backward keeps a heap of the nodes whose cotangents have begun to arrive
// and takes the highest number next (autograd/engine.cpp). The pass keeps its own state outside the nodes, so several
// threads may run passes over graphs that share nodes, and a rule may start a pass of its own.
//
// Lifetime. `backward` drops what a node saved as soon as its rule has run; a second pass then throws AutogradError.
// `retain_graph` or `create_graph` keep it. With create_graph the rules run with recording on, so that the gradients
// are themselves on the tape and can be differentiated again, to any order.
//
// What a rule may leave to the engine: a gradient is summed to its input's shape and cast to its input's dtype when it
// has a broader one. So the rule of a broadcasting `a + b` is just {dy, dy}.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/core/parallel.h"
#include "tenrec/core/tensor.h"

namespace tenrec {

// Which inputs want a gradient. A rule must not compute the others.
class Needs {
 public:
  explicit Needs(const std::vector<bool>& needs) : needs_(&needs) {}
  explicit Needs(uint64_t bits) : bits_(bits) {}
  bool operator[](size_t input) const { return needs_ ? bool((*needs_)[input]) : (bits_ >> input) & 1; }

 private:
  const std::vector<bool>* needs_ = nullptr;
  uint64_t bits_ = 0;
};

// The gradients a rule returns, one per input; undefined where none was needed.
class Grads {
 public:
  template <class... T>
  requires(sizeof...(T) <= 4 && (std::is_convertible_v<T&&, Tensor> && ...)) Grads(T&&... grads)
      : few_{Tensor(std::forward<T>(grads))...}, size_(sizeof...(T)) {}  // NOLINT
  explicit Grads(std::vector<Tensor> grads) : many_(std::move(grads)), size_(many_.size()) {}
  size_t size() const { return size_; }
  Tensor& operator[](size_t i) { return many_.empty() ? few_[i] : many_[i]; }
  const Tensor& operator[](size_t i) const { return many_.empty() ? few_[i] : many_[i]; }

 private:
  Tensor few_[4];
  std::vector<Tensor> many_;
  size_t size_;
};

// What a node keeps for its rule.
struct Save {
  uint32_t inputs = 0;   // bit i: input i
  uint32_t outputs = 0;  // bit i: output i
  friend constexpr Save operator|(Save a, Save b) { return {a.inputs | b.inputs, a.outputs | b.outputs}; }
};
inline constexpr Save save_none{0, 0};
inline constexpr Save save_inputs{~0u, 0};
inline constexpr Save save_output{0, ~0u};
inline constexpr Save save_both{~0u, ~0u};
constexpr Save save_input(int i) { return {1u << i, 0}; }
constexpr Save save_output_at(int i) { return {0, 1u << i}; }

// Declares that an op has no derivative because its output is discrete (argmax, comparisons).
struct NotDifferentiable {};
inline constexpr NotDifferentiable not_differentiable{};
// Declares that an op has a derivative that Tenrec does not know: recording it throws.
struct NoRule {};
inline constexpr NoRule no_rule{};

class Saved;
class Cotangents;

namespace detail {

class CheckpointFrame;
struct Hooks;
class Node;

struct Edge {
  Node* node = nullptr;        // the node that made the input, or
  TensorImpl* leaf = nullptr;  // the leaf that wants a gradient, or neither
  uint32_t output = 0;
};

struct OutputMeta {
  Shape shape;
  DType dtype;
  Device device;
};

struct SavedSlot {
  TensorImpl* tensor = nullptr;  // null while a checkpoint's promise stands for it
  uint32_t version = 0;
  uint32_t which = 0;  // input i, or inputs + output i
};

class Node {
 public:
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const char* name;
  uint32_t refs = 1;
  uint32_t block_bytes = 0;
  uint64_t sequence;
  uint16_t inputs, outputs, saved_count = 0;
  bool released = false;  // what was saved is gone
  Edge* edges = nullptr;
  OutputMeta* metas = nullptr;
  SavedSlot* saved = nullptr;
  Hooks* hooks = nullptr;
  std::string* origin = nullptr;  // the module path, kept in anomaly mode
  CheckpointFrame* frame = nullptr;
  uint32_t frame_base = 0;  // index of saved[0] in the frame
  Node* next_dead = nullptr;

  virtual Grads run(const Saved& saved, const Cotangents& dys, Needs needs) = 0;

 protected:
  Node(const char* op, uint16_t n_inputs, uint16_t n_outputs)
      : name(op), sequence(next_sequence()), inputs(n_inputs), outputs(n_outputs) {}
  virtual ~Node() = default;
  friend void destroy_node(Node* node);

 private:
  static uint64_t next_sequence() { return __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED); }
  inline static uint64_t counter = 0;
};

inline void retain_node(Node* node) { __atomic_fetch_add(&node->refs, 1u, __ATOMIC_RELAXED); }
void release_node(void* node);
void release_saved(Node& node);
inline Node* node_of(const Tensor& t) { return t.impl().has_node ? static_cast<Node*>(t.impl().autograd) : nullptr; }

// The header of node, edges, metas and saved list in one block.
struct NodeLayout {
  size_t edges, metas, saved, bytes;
  NodeLayout(size_t node_bytes, size_t inputs, size_t outputs, size_t saved_count);
};
// Fills the trailing arrays and hangs the node on its outputs. Takes over the node's reference.
void attach(Node* node, const NodeLayout& layout, std::span<const TensorRef> inputs, std::span<Tensor> outputs,
            Save save);
size_t count_saved(Save save, size_t inputs, size_t outputs);
void* allocate_node(size_t bytes);
void free_node(void* block, size_t bytes) noexcept;

inline bool wants_grad(std::span<const TensorRef> inputs) {
  for (const TensorRef& x : inputs)
    if (x->requires_grad()) return true;
  return false;
}

// Observers of every op: anomaly mode and the test suite's list of ops seen. Off the hot path behind one flag.
inline constinit int observers = 0;
void observe(const char* name, std::span<const TensorRef> inputs, std::span<const Tensor> outputs);
[[noreturn]] void fail_no_rule(const char* name);

}  // namespace detail

// What a rule reads. Reading what was not declared throws InternalError; a tensor that was mutated since throws
// AutogradError and says how to avoid it.
class Saved {
 public:
  // `last`: the pass frees what the node saved once its rule has run.
  Saved(const detail::Node& node, bool recording, bool last = false)
      : node_(node), recording_(recording), last_(last && !recording) {}
  Tensor input(int i = 0) const { return read(uint32_t(i)); }
  Tensor output(int i = 0) const { return read(node_.inputs + uint32_t(i)); }
  // Whether the rule may write its result over input i: nobody else has the tensor or a view of it, and this rule is
  // the last to read it.
  bool may_overwrite(int i) const;
  const detail::Node& node() const { return node_; }

 private:
  Tensor read(uint32_t which) const;
  const detail::Node& node_;
  bool recording_, last_;
};

// The cotangents of a node's outputs; one that never arrived is made as zeros when it is read.
class Cotangents {
 public:
  Cotangents(const detail::Node& node, std::span<const Tensor> grads) : node_(node), grads_(grads) {}
  size_t size() const { return grads_.size(); }
  bool arrived(size_t i) const { return grads_[i].defined(); }
  Tensor operator[](size_t i) const { return arrived(i) ? grads_[i] : zeros_for(i); }

 private:
  Tensor zeros_for(size_t i) const;
  const detail::Node& node_;
  std::span<const Tensor> grads_;
};

namespace detail {

template <class Rule>
class RuleNode final : public Node {
 public:
  RuleNode(const char* op, uint16_t n_inputs, uint16_t n_outputs, Rule&& rule)
      : Node(op, n_inputs, n_outputs), rule_(std::move(rule)) {}
  Grads run(const Saved& s, const Cotangents& dys, Needs needs) override {
    if constexpr (std::is_invocable_v<Rule&, const Saved&, const Cotangents&, Needs>)
      return rule_(s, dys, needs);
    else
      return rule_(s, dys[0], needs);
  }

 private:
  Rule rule_;
};

template <class Rule>
void make_node(const char* name, std::span<const TensorRef> inputs, std::span<Tensor> outputs, Save save, Rule&& rule) {
  using N = RuleNode<std::remove_cvref_t<Rule>>;
  const NodeLayout layout(sizeof(N), inputs.size(), outputs.size(), count_saved(save, inputs.size(), outputs.size()));
  void* block = allocate_node(layout.bytes);
  auto* node = new (block)
      N(name, uint16_t(inputs.size()), uint16_t(outputs.size()), std::remove_cvref_t<Rule>(std::forward<Rule>(rule)));
  attach(node, layout, inputs, outputs, save);
}

}  // namespace detail

// Records an op with several outputs. The rule: Grads(const Saved&, const Cotangents&, Needs).
template <class Rule>
std::vector<Tensor> record(const char* name, std::span<const TensorRef> inputs, std::vector<Tensor> outputs, Save save,
                           Rule&& rule) {
  if (detail::observers) [[unlikely]]
    detail::observe(name, inputs, outputs);
  if (grad_enabled() && detail::wants_grad(inputs))
    detail::make_node(name, inputs, std::span<Tensor>(outputs), save, std::forward<Rule>(rule));
  return outputs;
}
// Records an op with one output. The rule: Grads(const Saved&, const Tensor& dy, Needs).
template <class Rule>
Tensor record(const char* name, std::span<const TensorRef> inputs, Tensor y, Save save, Rule&& rule) {
  if (detail::observers) [[unlikely]]
    detail::observe(name, inputs, {&y, 1});
  if (grad_enabled() && detail::wants_grad(inputs))
    detail::make_node(name, inputs, std::span<Tensor>(&y, 1), save, std::forward<Rule>(rule));
  return y;
}
template <class Y, class Rule>
auto record(const char* name, std::initializer_list<TensorRef> inputs, Y y, Save save, Rule&& rule) {
  return record(name, std::span<const TensorRef>(inputs.begin(), inputs.size()), std::move(y), save,
                std::forward<Rule>(rule));
}
inline Tensor record(const char* name, std::initializer_list<TensorRef> inputs, Tensor y, NotDifferentiable) {
  if (detail::observers) [[unlikely]]
    detail::observe(name, {inputs.begin(), inputs.size()}, {&y, 1});
  return y;
}
inline Tensor record(const char* name, std::initializer_list<TensorRef> inputs, Tensor y, NoRule) {
  const std::span<const TensorRef> span(inputs.begin(), inputs.size());
  if (grad_enabled() && detail::wants_grad(span)) detail::fail_no_rule(name);
  return record(name, inputs, std::move(y), not_differentiable);
}

// The gradients of composed(inputs) at the saved inputs, through ops: how a fused op gets its higher derivatives.
// `composed` takes a span of tensors and returns the op's output or outputs.
Grads composed_vjp(FunctionRef<std::vector<Tensor>(std::span<const Tensor>)> composed, const Saved& saved,
                   const Cotangents& dys, Needs needs);

// The rule of a fused op: the `fused` gradient kernel while recording is off, the vjp of `composed` (the same function
// written with ops) while it is on. The op must save all inputs (save_inputs or save_both).
//   fused:    Grads(const Saved&, const Cotangents&, Needs)
//   composed: Tensor(std::span<const Tensor> inputs), or std::vector<Tensor>(...) for several outputs
template <class Fused, class Composed>
auto fused_rule(Fused fused, Composed composed) {
  return
      [fused = std::move(fused), composed = std::move(composed)](const Saved& s, const Cotangents& dys, Needs needs) {
        if (!grad_enabled()) return fused(s, dys, needs);
        return composed_vjp(
            [&](std::span<const Tensor> inputs) -> std::vector<Tensor> {
              if constexpr (std::is_same_v<std::invoke_result_t<const Composed&, std::span<const Tensor>>, Tensor>)
                return {composed(inputs)};
              else
                return composed(inputs);
            },
            s, dys, needs);
      };
}

}  // namespace tenrec
