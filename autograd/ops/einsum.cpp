// Einstein summation by permuting, multiplying matrices and summing; every step is a differentiable op.
#include <algorithm>
#include <map>

#include "tenrec/autograd/ops/elementwise.h"
#include "tenrec/autograd/ops/matmul.h"
#include "tenrec/autograd/ops/reduce.h"
#include "tenrec/autograd/ops/shape.h"

namespace tenrec {
namespace {

// Dimensions that an ellipsis stands for get the labels '0', '1', ... from the right.
struct Term {
  std::string labels;
  Tensor tensor;
};

std::string without_spaces(const std::string& text) {
  std::string out;
  for (char c : text)
    if (c != ' ') out.push_back(c);
  return out;
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ',')
      parts.emplace_back();
    else
      parts.back().push_back(c);
  }
  return parts;
}

std::string expand_ellipsis(const std::string& equation, const std::string& labels, int64_t hidden) {
  const size_t at = labels.find("...");
  std::string middle;
  for (int64_t i = hidden; i-- > 0;) middle.push_back(char('0' + i));
  std::string out = at == std::string::npos ? labels : labels.substr(0, at) + middle + labels.substr(at + 3);
  for (char c : out)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '7')))
      fail<ValueError>("einsum: unexpected '", c, "' in \"", equation, "\"");
  return out;
}

Term make_term(const std::string& equation, const std::string& labels, const Tensor& x) {
  const bool dots = labels.find("...") != std::string::npos;
  const int64_t named = int64_t(labels.size()) - (dots ? 3 : 0);
  if (named > x.ndim() || (!dots && named != x.ndim()))
    fail<ShapeError>("einsum: \"", labels, "\" names ", named, " dimensions, its operand has shape ", x.shape());
  Term term{expand_ellipsis(equation, labels, x.ndim() - named), x};
  // A label that is there twice takes the diagonal.
  for (size_t i = 0; i < term.labels.size(); ++i) {
    const size_t j = term.labels.find(term.labels[i], i + 1);
    if (j == std::string::npos) continue;
    const char label = term.labels[i];
    if (term.tensor.size(int64_t(i)) != term.tensor.size(int64_t(j)))
      fail<ShapeError>("einsum: label '", label, "' is ", term.tensor.size(int64_t(i)), " and ",
                       term.tensor.size(int64_t(j)), " long in one operand");
    term.tensor = diagonal(term.tensor, 0, int64_t(i), int64_t(j));
    term.labels.erase(j, 1);
    term.labels.erase(i, 1);
    term.labels.push_back(label);
    i = size_t(-1);
  }
  return term;
}

// Sums away the labels of a term that nobody else has.
Term reduce_to(Term term, const std::string& keep) {
  Shape dims;
  std::string left;
  for (size_t i = 0; i < term.labels.size(); ++i) {
    if (keep.find(term.labels[i]) == std::string::npos)
      dims.push_back(int64_t(i));
    else
      left.push_back(term.labels[i]);
  }
  if (!dims.empty()) term.tensor = sum(term.tensor, {.dim = Dims(dims)});
  term.labels = left;
  return term;
}

Tensor arrange(const Term& term, const std::string& labels) {
  Shape order;
  for (char c : labels) order.push_back(int64_t(term.labels.find(c)));
  return order ==
                 [&] {
                   Shape s;
                   for (int64_t i = 0; i < order.ndim(); ++i) s.push_back(i);
                   return s;
                 }()
             ? term.tensor
             : permute(term.tensor, order);
}

// One product: labels in both and in the result are the batch, in both and not in the result are summed.
Term contract(Term a, Term b, const std::string& keep) {
  a = reduce_to(std::move(a), keep + b.labels);
  b = reduce_to(std::move(b), keep + a.labels);
  std::string batch, inner, rows, cols;
  for (char c : a.labels) {
    const bool shared = b.labels.find(c) != std::string::npos;
    const bool kept = keep.find(c) != std::string::npos;
    (shared ? (kept ? batch : inner) : rows).push_back(c);
  }
  for (char c : b.labels)
    if (a.labels.find(c) == std::string::npos) cols.push_back(c);
  const auto size = [&](char c) {
    const size_t i = a.labels.find(c), j = b.labels.find(c);
    const int64_t x = i == std::string::npos ? 1 : a.tensor.size(int64_t(i));
    const int64_t y = j == std::string::npos ? 1 : b.tensor.size(int64_t(j));
    if (x != y && x != 1 && y != 1) fail<ShapeError>("einsum: label '", c, "' is ", x, " and ", y, " long");
    return x == 1 ? y : x;
  };
  const auto product = [&](const std::string& labels) {
    int64_t n = 1;
    for (char c : labels) n *= size(c);
    return n;
  };
  const auto matrix = [&](const Term& t, const std::string& first, const std::string& second) {
    std::string order = batch;
    order += first;
    order += second;
    Shape full;
    for (char c : order) full.push_back(size(c));
    Tensor x = arrange(t, order);
    if (x.shape() != full) x = expand(x, full);
    return reshape(x, {product(batch), product(first), product(second)});
  };
  Term out{batch + rows + cols, matmul(matrix(a, rows, inner), matrix(b, inner, cols))};
  Shape shape;
  for (char c : out.labels) shape.push_back(size(c));
  out.tensor = reshape(out.tensor, shape);
  return out;
}

}  // namespace

Tensor einsum(const std::string& text, const std::vector<Tensor>& operands) {
  const std::string equation = without_spaces(text);
  const size_t arrow = equation.find("->");
  const std::vector<std::string> inputs = split_commas(equation.substr(0, arrow));
  if (inputs.size() != operands.size())
    fail<ValueError>("einsum: \"", equation, "\" names ", inputs.size(), " operands, ", operands.size(), " were given");
  std::vector<Term> terms;
  int64_t hidden = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    terms.push_back(make_term(equation, inputs[i], operands[i]));
    if (inputs[i].find("...") != std::string::npos)
      hidden = std::max(hidden, operands[i].ndim() - (int64_t(inputs[i].size()) - 3));
  }
  std::string output;
  if (arrow != std::string::npos) {
    output = expand_ellipsis(equation, equation.substr(arrow + 2), hidden);
  } else {  // the ellipsis, then in alphabetical order what appears once
    for (int64_t i = hidden; i-- > 0;) output.push_back(char('0' + i));
    std::map<char, int> count;
    for (const std::string& labels : inputs)
      for (char c : labels)
        if (c != '.') ++count[c];
    for (const auto& [c, n] : count)
      if (n == 1) output.push_back(c);
  }
  for (size_t i = 0; i < output.size(); ++i) {
    bool known = false;
    for (const Term& term : terms) known |= term.labels.find(output[i]) != std::string::npos;
    if (!known) fail<ValueError>("einsum: output label '", output[i], "' is in no operand of \"", equation, "\"");
    if (output.find(output[i], i + 1) != std::string::npos)
      fail<ValueError>("einsum: output label '", output[i], "' is named twice in \"", equation, "\"");
  }
  Term result = std::move(terms[0]);
  for (size_t i = 1; i < terms.size(); ++i) {
    std::string keep = output;
    for (size_t j = i + 1; j < terms.size(); ++j) keep += terms[j].labels;
    result = contract(std::move(result), std::move(terms[i]), keep);
  }
  result = reduce_to(std::move(result), output);
  return arrange(result, output);
}

}  // namespace tenrec
