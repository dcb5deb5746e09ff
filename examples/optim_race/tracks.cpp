// The networks that are raced on, and the settings of those who race on them: twelve each, around what is known to work
// for networks of this size.
#include "gpt/tokens.h"
#include "optim_race/race.h"

using namespace tenrec;

namespace examples {
namespace {

std::string text_of(std::initializer_list<std::pair<const char*, double>> values) {
  std::string text;
  for (const auto& [name, value] : values) text += concat(text.empty() ? "" : ", ", name, " ", value);
  return text;
}

// --- digits ----------------------------------------------------------------------------------------------------------

class DigitsCourse : public Course {
 public:
  DigitsCourse(const Tensor& images, const Tensor& classes, int64_t batch)
      : images_(images), classes_(classes), batch_(batch), at_(images.size(0)) {}

  Module& network() override { return net_; }
  Closure next() override {
    if (at_ + batch_ > images_.size(0)) {
      order_ = randperm(images_.size(0));
      at_ = 0;
    }
    const Tensor rows = narrow(order_, 0, at_, batch_);
    at_ += batch_;
    return [this, x = index_select(images_, 0, rows), y = index_select(classes_, 0, rows)] {
      return cross_entropy(net_(x), y);
    };
  }
  double loss() override {
    constexpr int64_t kPart = 5000;
    const NoGrad off;
    double sum = 0;
    for (int64_t at = 0; at < images_.size(0); at += kPart) {
      const int64_t n = std::min(kPart, images_.size(0) - at);
      sum += cross_entropy(net_(narrow(images_, 0, at, n)), narrow(classes_, 0, at, n)).item<double>() * double(n);
    }
    return sum / double(images_.size(0));
  }

 private:
  Sequential net_{Linear(784, 256), ReLU(), Linear(256, 128), ReLU(), Linear(128, 10)};
  Tensor images_, classes_, order_;
  int64_t batch_, at_;
};

std::vector<Racer> digits_racers() {
  Racer sgd{"SGD", {}}, adam{"Adam", {}}, kfac{"KFAC", {}}, shampoo{"Shampoo", {}};
  for (const double momentum : {0.9, 0.95, 0.98})
    for (const double lr : {0.03, 0.1, 0.3, 0.6})
      sgd.settings.push_back(setting<SGD>(text_of({{"lr", lr}, {"momentum", momentum}}),
                                          SGDOptions{.lr = lr, .momentum = momentum, .nesterov = true}));
  for (const double beta2 : {0.99, 0.999})
    for (const double lr : {5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2})
      adam.settings.push_back(
          setting<Adam>(text_of({{"lr", lr}, {"beta2", beta2}}), AdamOptions{.lr = lr, .beta2 = beta2}));
  for (const double damping : {0.02, 0.03, 0.05, 0.1})
    for (const double lr : {0.015, 0.02, 0.03})
      kfac.settings.push_back(
          {text_of({{"lr", lr}, {"damping", damping}}), [=](Module& model) {
             return steps_of(std::make_shared<KFAC>(
                 model, KFACOptions{.lr = lr, .damping = damping, .inverse_interval = 5, .kl_clip = 3e-3}));
           }});
  for (const double beta : {0.9, 0.95, 0.99})
    for (const double lr : {2e-4, 3e-4, 4e-4, 8e-4})
      shampoo.settings.push_back(
          setting<Shampoo>(text_of({{"lr", lr}, {"beta", beta}}), ShampooOptions{.lr = lr,
                                                                                 .momentum = 0.9,
                                                                                 .eps = 1e-8,
                                                                                 .beta = beta,
                                                                                 .update_interval = 5,
                                                                                 .grafting = Grafting::adam,
                                                                                 .graft_beta2 = 0.99}));
  return {sgd, adam, kfac, shampoo};
}

// --- text ------------------------------------------------------------------------------------------------------------

constexpr GptOptions kSize{.context = 64, .layers = 4, .heads = 4, .width = 128};

class TextCourse : public Course {
 public:
  TextCourse(const Tokens& tokens, int64_t vocabulary, int64_t batch)
      : net_(sized(vocabulary)), tokens_(tokens), batch_(batch) {}

  Module& network() override { return net_; }
  Closure next() override {
    const Tensor starts = randint(0, tokens_.train.numel() - kSize.context, {batch_}, {.dtype = i64});
    return [this, batch = windows(tokens_.train, starts, kSize.context)] { return loss_of(net_, batch); };
  }
  double loss() override { return loss_over(net_, tokens_.validation, kSize.context); }

 private:
  static GptOptions sized(int64_t vocabulary) {
    GptOptions o = kSize;
    o.vocabulary = vocabulary;
    return o;
  }
  Gpt net_;
  Tokens tokens_;
  int64_t batch_;
};

// The rate rises over the first hundred steps and stays, so that the steps to a loss do not depend on a planned end.
std::shared_ptr<LinearLR> warm_up(Optimizer& optimizer) {
  return std::make_shared<LinearLR>(optimizer, LinearLROptions{.start_factor = 0.01, .total_steps = 100});
}

struct Parts {
  std::vector<Tensor> hidden, matrices, vectors;  // of the blocks; embeddings, which are the last layer too; the rest
};
Parts parts_of(Module& model) {
  Parts parts;
  for (const NamedTensor& p : named_parameters(model)) {
    if (p.tensor.ndim() < 2)
      parts.vectors.push_back(p.tensor);
    else
      (p.name.find(".h.") != std::string::npos ? parts.hidden : parts.matrices).push_back(p.tensor);
  }
  return parts;
}

// Vectors do not decay.
std::shared_ptr<AdamW> make_adamw(const std::vector<Tensor>& matrices, const std::vector<Tensor>& vectors, double lr,
                                  double beta2) {
  const AdamWOptions decayed{.lr = lr, .beta2 = beta2, .weight_decay = 0.1};
  AdamWOptions plain = decayed;
  plain.weight_decay = 0;
  return std::make_shared<AdamW>(std::vector<AdamW::Group>{{matrices, decayed}, {vectors, plain}});
}

Step adamw_steps(Module& model, double lr, double beta2) {
  Parts parts = parts_of(model);
  parts.matrices.insert(parts.matrices.end(), parts.hidden.begin(), parts.hidden.end());
  const auto optimizer = make_adamw(parts.matrices, parts.vectors, lr, beta2);
  const auto schedule = warm_up(*optimizer);
  return [optimizer, schedule](const Closure& loss_of) {
    optimizer->zero_grad();
    backward(loss_of());
    optimizer->step();
    schedule->step();
  };
}

// Muon moves the matrices of the blocks, AdamW all else.
Step muon_steps(Module& model, double lr, double adamw_lr) {
  const Parts parts = parts_of(model);
  const auto muon = std::make_shared<Muon>(
      parts.hidden, MuonOptions{.lr = lr, .adjust_lr_fn = MuonAdjustLr::match_rms_adamw, .ns_dtype = f32});
  const auto adamw = make_adamw(parts.matrices, parts.vectors, adamw_lr, 0.99);
  const auto first = warm_up(*muon), second = warm_up(*adamw);
  return [muon, adamw, first, second](const Closure& loss_of) {
    muon->zero_grad();
    adamw->zero_grad();
    backward(loss_of());
    muon->step();
    adamw->step();
    first->step();
    second->step();
  };
}

std::vector<Racer> text_racers() {
  Racer adamw{"AdamW", {}}, muon{"Muon", {}};
  for (const double beta2 : {0.95, 0.99, 0.999})
    for (const double lr : {1e-3, 2e-3, 4e-3, 8e-3})
      adamw.settings.push_back(
          {text_of({{"lr", lr}, {"beta2", beta2}}), [=](Module& model) { return adamw_steps(model, lr, beta2); }});
  for (const double adamw_lr : {2e-3, 4e-3, 8e-3})
    for (const double lr : {2e-3, 4e-3, 8e-3, 1.6e-2})
      muon.settings.push_back({text_of({{"lr", lr}, {"AdamW's lr", adamw_lr}}),
                               [=](Module& model) { return muon_steps(model, lr, adamw_lr); }});
  return {adamw, muon};
}

}  // namespace

Track digits_track(const Example& digits, int64_t batch) {
  const Tensor &images = digits.input(), &classes = digits.target();
  if (images.size(0) < batch) fail<ValueError>("optim_race: a batch of ", batch, " from ", images.size(0), " examples");
  return {[=](uint64_t seed) {
            manual_seed(seed);
            return std::make_unique<DigitsCourse>(images, classes, batch);
          },
          digits_racers()};
}

Track text_track(const std::string& text_file, int64_t batch) {
  const NamedText text = text_file.empty() ? grammar_text(200'000) : read_text_file(text_file);
  const TextTokenizer tokenizer = TextTokenizer::build(TextUnit::character, text.bytes);
  return {[=, tokens = Tokens(tokenizer, text, kSize.context), vocabulary = tokenizer.size()](uint64_t seed) {
            manual_seed(seed);
            return std::make_unique<TextCourse>(tokens, vocabulary, batch);
          },
          text_racers()};
}

}  // namespace examples
