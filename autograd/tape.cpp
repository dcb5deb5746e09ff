#include "tenrec/autograd/tape.h"

#include <bit>
#include <cstring>
#include <new>

#include "tenrec/autograd/anomaly.h"
#include "tenrec/autograd/checkpoint.h"
#include "tenrec/autograd/leaf.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/core/allocator.h"
#include "tenrec/core/module_scope.h"
#include "tenrec/core/reference.h"

namespace tenrec {
namespace detail {

static_assert(alignof(Edge) <= 16 && alignof(OutputMeta) <= 16 && alignof(SavedSlot) <= 16);

NodeLayout::NodeLayout(size_t node_bytes, size_t inputs, size_t outputs, size_t saved_count) {
  const auto aligned = [](size_t n) { return (n + 15) / 16 * 16; };
  edges = aligned(node_bytes);
  metas = edges + aligned(inputs * sizeof(Edge));
  saved = metas + aligned(outputs * sizeof(OutputMeta));
  bytes = saved + saved_count * sizeof(SavedSlot);
}

size_t count_saved(Save save, size_t inputs, size_t outputs) {
  const auto count = [](uint32_t mask, size_t n) {
    if (mask == ~0u) return n;
    return size_t(std::popcount(n < 32 ? mask & ((1u << n) - 1) : mask));
  };
  return count(save.inputs, inputs) + count(save.outputs, outputs);
}

void* allocate_node(size_t bytes) { return allocate(bytes); }
void free_node(void* block, size_t bytes) noexcept { deallocate(block, bytes); }

namespace {

bool in_mask(uint32_t mask, size_t i) { return mask == ~0u || (i < 32 && ((mask >> i) & 1)); }

SavedSlot make_slot(TensorImpl* impl, size_t which) {
  retain_impl(impl);
  return {impl, __atomic_load_n(&impl->storage->version, __ATOMIC_RELAXED), uint32_t(which)};
}

// Atomic, because threads record the same parameters; written once, because they would fight over the cache line.
void mark_recorded(Storage& storage) {
  if (!__atomic_load_n(&storage.recorded, __ATOMIC_RELAXED))
    __atomic_store_n(&storage.recorded, true, __ATOMIC_RELAXED);
}

Edge make_edge(const Tensor& x) {
  TensorImpl& impl = x.impl();
  if (impl.has_node) {
    auto* node = static_cast<Node*>(impl.autograd);
    retain_node(node);
    return {node, nullptr, impl.output_index};
  }
  if (impl.requires_grad) {
    retain_impl(&impl);
    return {nullptr, &impl, 0};
  }
  return {};
}

}  // namespace

void attach(Node* node, const NodeLayout& layout, std::span<const TensorRef> inputs, std::span<Tensor> outputs,
            Save save) {
  char* block = reinterpret_cast<char*>(node);
  node->block_bytes = uint32_t(layout.bytes);
  node->edges = reinterpret_cast<Edge*>(block + layout.edges);
  node->metas = reinterpret_cast<OutputMeta*>(block + layout.metas);
  node->saved = reinterpret_cast<SavedSlot*>(block + layout.saved);
  for (size_t i = 0; i < inputs.size(); ++i) {
    new (&node->edges[i]) Edge(make_edge(*inputs[i]));
    mark_recorded(*inputs[i]->impl().storage);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorImpl& y = outputs[i].impl();
    new (&node->metas[i]) OutputMeta{y.shape, y.dtype, y.device};
    mark_recorded(*y.storage);
  }
  try {
    for (size_t i = 0; i < inputs.size(); ++i)
      if (in_mask(save.inputs, i)) {
        TensorImpl* x = inputs[i]->raw();
        new (&node->saved[node->saved_count++]) SavedSlot(make_slot(x, i));
      }
    for (size_t i = 0; i < outputs.size(); ++i)
      if (in_mask(save.outputs, i)) {
        const Tensor& y = outputs[i];
        const Tensor header = make_view(y, y.shape(), y.strides(), 0);  // without the node: no cycle
        new (&node->saved[node->saved_count++]) SavedSlot(make_slot(header.raw(), inputs.size() + i));
      }
    if (CheckpointFrame* frame = current_frame()) frame->adopt(*node);
    if (observers & kObserveAnomaly) node->origin = new std::string(current_module_path());
  } catch (...) {
    release_node(node);
    throw;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    TensorImpl& y = outputs[i].impl();
    if (!is_floating(y.dtype)) continue;  // an integer output (the indices of max) has no cotangent
    retain_node(node);
    y.autograd = node;
    y.release_autograd = release_node;
    y.has_node = true;
    y.output_index = uint32_t(i);
  }
  release_node(node);
}

void release_saved(Node& node) {
  for (uint16_t i = 0; i < node.saved_count; ++i) {
    if (TensorImpl* impl = std::exchange(node.saved[i].tensor, nullptr))
      release_impl(impl);
    else if (node.frame)
      node.frame->drop(node.frame_base + i);
  }
  node.released = true;
}

void destroy_node(Node* node) {
  release_saved(*node);
  for (uint16_t i = 0; i < node->inputs; ++i) {
    if (node->edges[i].node) release_node(node->edges[i].node);
    if (node->edges[i].leaf) release_impl(node->edges[i].leaf);
  }
  delete node->hooks;
  delete node->origin;
  if (node->frame) node->frame->release();
  const size_t bytes = node->block_bytes;
  node->~Node();
  free_node(node, bytes);
}

void release_node(void* pointer) {
  auto* node = static_cast<Node*>(pointer);
  if (!drop_reference(node->refs)) return;
  // Whoever is first destroys in a loop; what dies meanwhile on this thread joins its list.
  thread_local constinit Node* dead = nullptr;
  thread_local constinit bool draining = false;
  node->next_dead = dead;
  dead = node;
  if (draining) return;
  draining = true;
  while (dead) {
    Node* next = dead;
    dead = next->next_dead;
    destroy_node(next);
  }
  draining = false;
}

void fail_no_rule(const char* name) {
  fail<AutogradError>(name, ": this op has no derivative rule; detach its input or run it under NoGrad");
}

namespace {
void release_leaf(void* leaf) { delete static_cast<Leaf*>(leaf); }
}  // namespace

Leaf& leaf_of(TensorImpl& impl) {
  TENREC_ASSERT(!impl.has_node);
  void* existing = __atomic_load_n(&impl.autograd, __ATOMIC_ACQUIRE);
  if (!existing) {
    auto* made = new Leaf;
    if (__atomic_compare_exchange_n(&impl.autograd, &existing, static_cast<void*>(made), false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
      impl.release_autograd = release_leaf;
      return *made;
    }
    delete made;
  }
  return *static_cast<Leaf*>(existing);
}

Tensor Hooks::run(uint32_t output, Tensor grad) const {
  for (const Entry& entry : entries) {
    if (entry.output != output) continue;
    if (Tensor changed = entry.hook(grad); changed.defined()) grad = std::move(changed);
  }
  return grad;
}

}  // namespace detail

bool Saved::may_overwrite(int i) const {
  if (!last_ || node_.frame) return false;
  for (uint16_t k = 0; k < node_.saved_count; ++k) {
    const detail::TensorImpl* x = node_.saved[k].tensor;
    if (node_.saved[k].which != uint32_t(i)) continue;
    return x && __atomic_load_n(&x->refs, __ATOMIC_ACQUIRE) == 1 &&
           __atomic_load_n(&x->storage->refs, __ATOMIC_ACQUIRE) == 1;
  }
  return false;
}

Tensor Saved::read(uint32_t which) const {
  if (node_.released)
    fail<AutogradError>(node_.name, ": backward through a graph that was already freed; pass retain_graph = true to ",
                        "the first backward or grad to go through it again");
  for (uint16_t i = 0; i < node_.saved_count; ++i) {
    const detail::SavedSlot& slot = node_.saved[i];
    if (slot.which != which) continue;
    Tensor t;
    if (slot.tensor) {
      detail::retain_impl(slot.tensor);
      t = Tensor::adopt(slot.tensor);
    } else {
      t = node_.frame->get(node_.frame_base + i);
    }
    if (slot.tensor && __atomic_load_n(&t.impl().storage->version, __ATOMIC_RELAXED) != slot.version)
      fail<AutogradError>(node_.name, ": a tensor of shape ", t.shape(), " saved for backward was changed in place ",
                          "(version ", t.impl().storage->version, ", saved at ", slot.version,
                          "); use the functional form (x = x + y) or change a clone");
    if (which < node_.inputs || !recording_ || t.impl().has_node) return t;
    // A saved output gets its node back, so that it can be differentiated.
    Tensor y = detail::make_view(t, t.shape(), t.strides(), 0);
    auto* node = const_cast<detail::Node*>(&node_);
    detail::retain_node(node);
    y.impl().autograd = node;
    y.impl().release_autograd = detail::release_node;
    y.impl().has_node = true;
    y.impl().output_index = which - node_.inputs;
    return y;
  }
  fail<InternalError>(node_.name, ": its rule reads a tensor that `record` was not told to save");
}

Tensor Cotangents::zeros_for(size_t i) const {
  const detail::OutputMeta& meta = node_.metas[i];
  return zeros(meta.shape, {.dtype = meta.dtype, .device = meta.device});
}

Tensor& Tensor::set_requires_grad(bool value) {
  detail::TensorImpl& t = impl();
  if (value && !is_floating(t.dtype))
    fail<DTypeError>("set_requires_grad: only floating tensors have gradients, this one is ", t.dtype);
  if (t.has_node) {
    if (value) return *this;
    fail<AutogradError>("set_requires_grad: this tensor is the output of an op; use detach()");
  }
  t.requires_grad = value;
  return *this;
}

Tensor Tensor::grad() const {
  const detail::TensorImpl& t = impl();
  if (t.has_node) return {};
  detail::Leaf* leaf = detail::find_leaf(t);
  return leaf ? leaf->grad : Tensor();
}

void Tensor::set_grad(const Tensor& grad) {
  if (grad.defined() && (grad.shape() != shape() || grad.dtype() != dtype()))
    fail<ShapeError>("set_grad: a gradient of shape ", grad.shape(), " and dtype ", grad.dtype(), " for a tensor of ",
                     shape(), " and ", dtype());
  if (impl().has_node) fail<AutogradError>("set_grad: only a leaf has a gradient");
  if (!grad.defined() && !detail::find_leaf(*impl_)) return;
  detail::leaf_of(*impl_).grad = grad;
}

Tensor Tensor::detach() const { return detail::make_view(*this, shape(), strides(), 0); }

}  // namespace tenrec
