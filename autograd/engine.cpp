// The pass: takes nodes in falling order of their numbers, runs their rules, hands the gradients on.
#include <algorithm>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "tenrec/autograd/anomaly.h"
#include "tenrec/autograd/autocast.h"
#include "tenrec/autograd/backward.h"
#include "tenrec/autograd/hooks.h"
#include "tenrec/autograd/leaf.h"
#include "tenrec/autograd/ops.h"
#include "tenrec/autograd/tape.h"

namespace tenrec {
namespace detail {

bool has_nan(const Tensor& t);

namespace {

// A sum of cotangents that are still arriving. Memory is added to in place only once the sum owns it.
class Accumulator {
 public:
  void add(Tensor grad) {
    if (!sum_.defined()) {
      sum_ = std::move(grad);
    } else if (owned_ && !grad_enabled()) {
      kernels_add_in_place(sum_, grad);
    } else {
      sum_ = sum_ + grad;
      owned_ = true;
    }
  }
  bool empty() const { return !sum_.defined(); }
  const Tensor& get() const { return sum_; }
  Tensor take() {
    owned_ = false;
    return std::move(sum_);
  }

 private:
  static void kernels_add_in_place(Tensor& sum, const Tensor& grad) { add_(sum, grad); }
  Tensor sum_;
  bool owned_ = false;
};

// A node whose cotangents have begun to arrive. Kept for reuse when the node is done.
struct Task {
  Node* node = nullptr;  // owned
  std::vector<Accumulator> grads;
};

// Nodes waiting for their turn: a heap over the node numbers, and a table from number to task. Both live in the pass,
// not in the nodes, and both stay a handful of entries long for a chain.
class Queue {
 public:
  Queue() : table_(16) {}
  ~Queue() {
    for (const auto& entry : heap_) release_node(entry.task->node);
  }
  bool empty() const { return heap_.empty(); }
  // Worth keeping for the next pass: nothing waits in it, and it has not grown large.
  bool reusable() const { return heap_.empty() && table_.size() <= 1024; }

  Task& find_or_add(Node* node) {
    size_t at = slot(node->sequence);
    if (!table_[at]) {
      if (heap_.size() * 2 >= table_.size()) {
        grow();
        at = slot(node->sequence);
      }
      Task* task = spare_.empty() ? all_.emplace_back(std::make_unique<Task>()).get() : spare_.back();
      if (!spare_.empty()) spare_.pop_back();
      retain_node(node);
      task->node = node;
      task->grads.resize(node->outputs);
      table_[at] = task;
      heap_.push_back({node->sequence, task});
      std::push_heap(heap_.begin(), heap_.end());
    }
    return *table_[at];
  }

  // The task of the highest number; give it back with `done`.
  Task* pop() {
    std::pop_heap(heap_.begin(), heap_.end());
    Task* task = heap_.back().task;
    heap_.pop_back();
    erase(slot(task->node->sequence));
    return task;
  }
  void done(Task* task) {
    release_node(std::exchange(task->node, nullptr));
    task->grads.clear();
    spare_.push_back(task);
  }

 private:
  struct Entry {
    uint64_t sequence;
    Task* task;
    bool operator<(const Entry& other) const { return sequence < other.sequence; }
  };

  size_t home(uint64_t sequence) const { return size_t(sequence * 0x9e3779b97f4a7c15u >> 20) & (table_.size() - 1); }
  size_t slot(uint64_t sequence) const {  // linear probing
    size_t at = home(sequence);
    while (table_[at] && table_[at]->node->sequence != sequence) at = (at + 1) & (table_.size() - 1);
    return at;
  }
  void erase(size_t hole) {  // shifts back what probed past the hole
    const size_t mask = table_.size() - 1;
    for (size_t i = (hole + 1) & mask; table_[i]; i = (i + 1) & mask) {
      if (((i - home(table_[i]->node->sequence)) & mask) < ((i - hole) & mask)) continue;
      table_[hole] = table_[i];
      hole = i;
    }
    table_[hole] = nullptr;
  }
  void grow() {
    table_.assign(table_.size() * 2, nullptr);
    for (const Entry& entry : heap_) table_[slot(entry.sequence)] = entry.task;
  }

  std::vector<Entry> heap_;
  std::vector<Task*> table_;
  std::vector<Task*> spare_;
  std::vector<std::unique_ptr<Task>> all_;
};

// A queue for a pass, taken over from the last pass of this thread if none inside it has it: a small step's backward
// would else spend a tenth of its time in malloc.
class QueueLease {
 public:
  QueueLease() : queue_(idle() ? std::move(idle()) : std::make_unique<Queue>()) {}
  ~QueueLease() {
    if (queue_->reusable()) idle() = std::move(queue_);
  }
  QueueLease(const QueueLease&) = delete;
  QueueLease& operator=(const QueueLease&) = delete;
  Queue& operator*() const { return *queue_; }

 private:
  static std::unique_ptr<Queue>& idle() {
    static thread_local std::unique_ptr<Queue> queue;
    return queue;
  }
  std::unique_ptr<Queue> queue_;
};

// Where a gradient is wanted: an output of a node, or a leaf.
struct Target {
  size_t index;
  uint32_t output;
};

class Pass {
 public:
  Pass(std::span<const Tensor> xs, bool create_graph, bool retain, bool past_targets, bool accumulate)
      : create_graph_(create_graph), retain_(retain), past_targets_(past_targets), accumulate_(accumulate) {
    results_.resize(xs.size());
    leaves_.reserve(8);
    for (size_t i = 0; i < xs.size(); ++i) {
      if (Node* node = node_of(xs[i]))
        node_targets_.emplace(node, Target{i, xs[i].impl().output_index});
      else
        leaf_targets_.emplace(xs[i].raw(), i);
    }
  }

  std::vector<Tensor> run(std::span<const Tensor> losses, std::span<const Tensor> cotangents) {
    const GradMode mode(create_graph_);
    const Autocast off(false);
    if (!accumulate_) find_needed(losses);
    for (size_t i = 0; i < losses.size(); ++i) send(edge_of(losses[i]), cotangents[i]);
    while (!queue_.empty()) step();
    finish_leaves();
    return std::move(results_);
  }

 private:
  struct LeafSum {
    TensorImpl* leaf;
    Accumulator sum;
  };

  static Edge edge_of(const Tensor& t) {
    if (Node* node = node_of(t)) return {node, nullptr, t.impl().output_index};
    return {nullptr, t.impl().requires_grad ? t.raw() : nullptr, 0};
  }

  bool wanted(const Edge& edge) const {
    if (edge.node) return accumulate_ || needed_.contains(edge.node);
    return edge.leaf && (accumulate_ || leaf_targets_.contains(edge.leaf));
  }

  // Marks the nodes from which a target can be reached, so that nothing else is computed.
  void find_needed(std::span<const Tensor> losses) {
    uint64_t lowest = leaf_targets_.empty() ? ~uint64_t(0) : 0;
    for (const auto& [node, target] : node_targets_) lowest = std::min(lowest, node->sequence);
    std::vector<Node*> reached, open;
    std::unordered_set<Node*> seen;
    const auto visit = [&](Node* node) {
      if (node && node->sequence >= lowest && seen.insert(node).second) open.push_back(node);
    };
    for (const Tensor& loss : losses) visit(node_of(loss));
    while (!open.empty()) {
      Node* node = open.back();
      open.pop_back();
      reached.push_back(node);
      if (!past_targets_ && node_targets_.contains(node)) continue;
      for (uint16_t i = 0; i < node->inputs; ++i) visit(node->edges[i].node);
    }
    std::sort(reached.begin(), reached.end(), [](Node* a, Node* b) { return a->sequence < b->sequence; });
    for (Node* node : reached) {
      bool needs = node_targets_.contains(node);
      for (uint16_t i = 0; i < node->inputs && !needs; ++i) needs = wanted(node->edges[i]);
      if (needs) needed_.insert(node);
    }
  }

  void send(const Edge& edge, Tensor grad) {
    if (edge.node)
      queue_.find_or_add(edge.node).grads[edge.output].add(std::move(grad));
    else if (edge.leaf)
      leaf_sum(edge.leaf).add(std::move(grad));
  }

  Accumulator& leaf_sum(TensorImpl* leaf) {
    if (leaves_.size() < 8) {
      for (LeafSum& entry : leaves_)
        if (entry.leaf == leaf) return entry.sum;
    } else {
      if (leaf_index_.empty())
        for (size_t i = 0; i < leaves_.size(); ++i) leaf_index_.emplace(leaves_[i].leaf, i);
      const auto [it, fresh] = leaf_index_.emplace(leaf, leaves_.size());
      if (!fresh) return leaves_[it->second].sum;
    }
    leaves_.push_back({leaf, Accumulator()});
    return leaves_.back().sum;
  }

  void step() {
    Task* task = queue_.pop();
    struct Done {
      Queue& queue;
      Task* task;
      ~Done() { queue.done(task); }
    } done{queue_, task};
    Node& node = *task->node;
    Tensor one;
    std::vector<Tensor> many;
    if (node.outputs != 1) many.resize(node.outputs);
    const std::span<Tensor> grads = node.outputs == 1 ? std::span<Tensor>(&one, 1) : std::span<Tensor>(many);
    for (uint16_t i = 0; i < node.outputs; ++i) {
      grads[i] = task->grads[i].take();
      if (node.hooks && grads[i].defined()) grads[i] = node.hooks->run(i, std::move(grads[i]));
    }
    if (!node_targets_.empty() && capture(node, grads)) return;
    run_rule(node, grads);
  }

  // Keeps the gradients of targets; true if the pass need not go past this node.
  bool capture(Node& node, std::span<const Tensor> grads) {
    const auto [begin, end] = node_targets_.equal_range(&node);
    for (auto it = begin; it != end; ++it) results_[it->second.index] = grads[it->second.output];
    if (begin == end) return false;
    if (!past_targets_) return true;
    for (uint16_t i = 0; i < node.inputs; ++i)
      if (wanted(node.edges[i])) return false;
    return true;
  }

  Grads call_rule(Node& node, std::span<const Tensor> grads, Needs needs) {
    const struct InRule {
      bool before = std::exchange(in_rule, true);
      ~InRule() { in_rule = before; }
    } scope;
    return node.run(Saved(node, grad_enabled(), !retain_), Cotangents(node, grads), needs);
  }

  void run_rule(Node& node, std::span<const Tensor> grads) {
    std::vector<bool> many;
    uint64_t bits = 0;
    if (node.inputs > 64) {
      for (uint16_t i = 0; i < node.inputs; ++i) many.push_back(wanted(node.edges[i]));
    } else {
      for (uint16_t i = 0; i < node.inputs; ++i) bits |= uint64_t(wanted(node.edges[i])) << i;
    }
    const Needs needs = node.inputs > 64 ? Needs(many) : Needs(bits);
    Grads out = call_rule(node, grads, needs);
    if (!retain_) release_saved(node);
    if (out.size() != node.inputs)
      fail<InternalError>(node.name, ": its rule returned ", out.size(), " gradients for ", int(node.inputs),
                          " inputs");
    for (uint16_t i = 0; i < node.inputs; ++i) {
      if (!needs[i]) continue;
      if (!out[i].defined()) fail<InternalError>(node.name, ": its rule returned no gradient for input ", int(i));
      send(node.edges[i], fit(node, node.edges[i], std::move(out[i]), i));
    }
  }

  // Sums a gradient to its input's shape and casts it to its dtype.
  Tensor fit(const Node& node, const Edge& edge, Tensor grad, int i) const {
    const Shape& shape = edge.node ? edge.node->metas[edge.output].shape : edge.leaf->shape;
    const DType dtype = edge.node ? edge.node->metas[edge.output].dtype : edge.leaf->dtype;
    if (observers & kObserveAnomaly && has_nan(grad))
      fail<AutogradError>(
          node.name, ": backward made a NaN in the gradient of input ", i,
          node.origin && !node.origin->empty() ? concat(" [in module ", *node.origin, "]") : std::string());
    if (grad.dtype() != dtype) grad = grad.to(dtype);
    if (grad.shape() != shape) grad = sum_to(grad, shape);
    return grad;
  }

  void finish_leaves() {
    for (LeafSum& entry : leaves_) {
      Tensor grad = entry.sum.take();
      Leaf* record = find_leaf(*entry.leaf);
      if (record && !record->hooks.entries.empty()) grad = record->hooks.run(0, std::move(grad));
      if (accumulate_) {
        accumulate(*entry.leaf, std::move(grad));
      } else {
        const auto [begin, end] = leaf_targets_.equal_range(entry.leaf);
        for (auto it = begin; it != end; ++it) results_[it->second] = grad;
      }
    }
  }

  static void accumulate(TensorImpl& impl, Tensor grad) {
    Leaf& leaf = leaf_of(impl);
    const std::lock_guard lock(leaf.lock);
    if (!leaf.grad.defined()) {
      leaf.grad = is_unique(grad) && grad.is_contiguous() ? std::move(grad) : clone(grad);
    } else {
      add_(leaf.grad, grad);
    }
  }

  bool create_graph_, retain_, past_targets_, accumulate_;
  std::unordered_multimap<Node*, Target> node_targets_;
  std::unordered_multimap<TensorImpl*, size_t> leaf_targets_;
  std::unordered_set<Node*> needed_;
  QueueLease lease_;
  Queue& queue_ = *lease_;
  std::vector<LeafSum> leaves_;
  std::unordered_map<TensorImpl*, size_t> leaf_index_;
  std::vector<Tensor> results_;
};

Tensor initial_cotangent(const char* op, const Tensor& loss, const Tensor& given) {
  if (!loss.requires_grad())
    fail<AutogradError>(op, ": the loss is not on the tape: no input of it requires grad, or it was made under NoGrad");
  if (given.defined()) {
    if (given.shape() != loss.shape())
      fail<ShapeError>(op, ": grad_output of shape ", given.shape(), " for a loss of shape ", loss.shape());
    return given.dtype() == loss.dtype() ? given : given.to(loss.dtype());
  }
  if (loss.numel() != 1)
    fail<ShapeError>(op, ": a loss of shape ", loss.shape(), " needs a grad_output; only one element goes without");
  return ones_like(loss);
}

std::vector<Tensor> run_grad(std::span<const Tensor> losses, std::span<const Tensor> xs,
                             std::span<const Tensor> grad_outputs, const GradOptions& options, bool past_targets) {
  std::vector<Tensor> cotangents;
  for (size_t i = 0; i < losses.size(); ++i)
    cotangents.push_back(initial_cotangent("grad", losses[i], i < grad_outputs.size() ? grad_outputs[i] : Tensor()));
  for (const Tensor& x : xs)
    if (!x.requires_grad()) fail<AutogradError>("grad: an x of shape ", x.shape(), " does not require grad");
  Pass pass(xs, options.create_graph, options.retain_graph || options.create_graph, past_targets, false);
  std::vector<Tensor> grads = pass.run(losses, cotangents);
  for (size_t i = 0; i < grads.size(); ++i)
    if (!grads[i].defined() && !options.allow_unused)
      fail<AutogradError>("grad: the loss does not depend on x number ", i, " of shape ", xs[i].shape(),
                          "; pass allow_unused = true if that is meant");
  return grads;
}

}  // namespace

std::vector<Tensor> grad_up_to(std::span<const Tensor> losses, std::span<const Tensor> xs,
                               std::span<const Tensor> grad_outputs, bool create_graph) {
  return run_grad(losses, xs, grad_outputs, {.create_graph = create_graph, .allow_unused = true}, false);
}

}  // namespace detail

std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& xs, const GradOptions& options) {
  return detail::run_grad({&loss, 1}, xs, {&options.grad_output, 1}, options, true);
}

std::vector<Tensor> grad(const std::vector<Tensor>& losses, const std::vector<Tensor>& xs,
                         const std::vector<Tensor>& grad_outputs, const GradOptions& options) {
  return detail::run_grad(losses, xs, grad_outputs, options, true);
}

void backward(const Tensor& loss, const BackwardOptions& options) {
  const Tensor cotangent = detail::initial_cotangent("backward", loss, options.grad_output);
  detail::Pass pass({}, false, options.retain_graph, true, true);
  pass.run({&loss, 1}, {&cotangent, 1});
}

Grads composed_vjp(FunctionRef<std::vector<Tensor>(std::span<const Tensor>)> composed, const Saved& saved,
                   const Cotangents& dys, Needs needs) {
  const size_t n = saved.node().inputs;
  std::vector<Tensor> inputs, wanted, outputs, cotangents;
  for (size_t i = 0; i < n; ++i) {
    Tensor x = saved.input(int(i));
    // An alias of its own, so that the inner pass stops here and not somewhere in the graph behind x.
    inputs.push_back(needs[i] ? alias(x) : x);
    if (needs[i]) wanted.push_back(inputs.back());
  }
  const std::vector<Tensor> ys = composed(inputs);
  for (size_t i = 0; i < ys.size(); ++i) {
    if (!dys.arrived(i) || !ys[i].requires_grad()) continue;
    outputs.push_back(ys[i]);
    cotangents.push_back(dys[i]);
  }
  std::vector<Tensor> found = detail::grad_up_to(outputs, wanted, cotangents, true);
  std::vector<Tensor> grads(n);
  for (size_t i = 0, next = 0; i < n; ++i) {
    if (!needs[i]) continue;
    grads[i] = found[next++];
    if (!grads[i].defined()) grads[i] = zeros_like(inputs[i]);
  }
  return Grads(std::move(grads));
}

HookHandle register_hook(const Tensor& x, std::function<Tensor(const Tensor&)> hook) {
  if (!x.requires_grad()) fail<AutogradError>("register_hook: the tensor does not require grad");
  static uint64_t next_id = 0;
  const uint64_t id = __atomic_add_fetch(&next_id, 1, __ATOMIC_RELAXED);
  const auto checked = [hook = std::move(hook), shape = x.shape()](const Tensor& grad) {
    Tensor changed = hook(grad);
    if (changed.defined() && changed.shape() != shape)
      fail<ShapeError>("register_hook: the hook returned shape ", changed.shape(), " for a gradient of ", shape);
    return changed;
  };
  detail::TensorImpl& impl = x.impl();
  if (detail::Node* node = detail::node_of(x)) {
    if (!node->hooks) node->hooks = new detail::Hooks;
    node->hooks->entries.push_back({impl.output_index, id, checked});
  } else {
    detail::leaf_of(impl).hooks.entries.push_back({0, id, checked});
  }
  return {x, id};
}

void HookHandle::remove() {
  detail::Node* node = detail::node_of(tensor_);
  detail::Hooks* hooks = node ? node->hooks : &detail::leaf_of(tensor_.impl()).hooks;
  if (hooks) std::erase_if(hooks->entries, [&](const auto& entry) { return entry.id == id_; });
}

}  // namespace tenrec
