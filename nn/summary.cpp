#include "tenrec/nn/summary.h"

#include <algorithm>
#include <unordered_map>

#include "tenrec/autograd/grad_mode.h"
#include "tenrec/autograd/ops_seen.h"

namespace tenrec {
namespace {

struct Row {
  std::string path, type, shape, parameters;
};

class Rows : public Visitor {
 public:
  explicit Rows(const std::unordered_map<const void*, Shape>& outputs) : outputs_(outputs) {}
  std::vector<Row> rows;

 protected:
  void on_module(const std::string& path, Module& module) override {
    const std::string details = module.details();
    const auto it = outputs_.find(&module);
    rows.push_back({path.empty() ? "(root)" : path,
                    details.empty() ? module.type_name() : concat(module.type_name(), "(", details, ")"),
                    it == outputs_.end() ? "-" : to_string(it->second), "-"});
    own_.push_back(0);
  }
  void on_parameter(const std::string& path, Tensor& t) override {
    // A parameter belongs to the module whose path is the longest prefix; that is the one visited last above it.
    for (size_t i = rows.size(); i-- > 0;) {
      const bool root = i == 0;
      if (!root && path.rfind(rows[i].path + ".", 0) != 0) continue;
      own_[i] += t.numel();
      rows[i].parameters = concat(own_[i]);
      return;
    }
  }

 private:
  const std::unordered_map<const void*, Shape>& outputs_;
  std::vector<int64_t> own_;
};

std::string padded(const std::string& text, size_t width) { return text + std::string(width - text.size() + 2, ' '); }

}  // namespace

std::string summary(Module& model, const std::function<Tensor(const Tensor&)>& forward, const Tensor& input) {
  std::unordered_map<const void*, Shape> outputs;
  const bool was_training = model.is_training();
  eval(model);
  {
    const NoGrad off;
    // The last op that runs inside a module, or inside its children, makes its output.
    const OpListener listener([&](const char*, std::span<const Tensor> ys) {
      for (auto* frame = detail::current_module; frame; frame = frame->outer)
        if (!ys.empty()) outputs[frame->module] = ys[0].shape();
    });
    const Tensor y = forward(input);
    outputs[&model] = y.shape();
  }
  set_training(model, was_training);
  Rows visitor(outputs);
  visitor.start(model);
  std::vector<Row> rows{{"module", "type", "output", "parameters"}};
  rows.insert(rows.end(), visitor.rows.begin(), visitor.rows.end());
  size_t path = 0, type = 0, shape = 0;
  for (const Row& row : rows) {
    path = std::max(path, row.path.size());
    type = std::max(type, row.type.size());
    shape = std::max(shape, row.shape.size());
  }
  std::string out;
  for (const Row& row : rows)
    out += padded(row.path, path) + padded(row.type, type) + padded(row.shape, shape) + row.parameters + "\n";
  out += concat("total: ", count_parameters(model), " parameters\n");
  for (const auto& group : tied_parameters(model)) {
    out += "tied:";
    for (const std::string& name : group) out += " " + name;
    out += "\n";
  }
  return out;
}

}  // namespace tenrec
