// Where is the digit, and which one is it? A convolutional network gives for a canvas with a digit on it four numbers,
// the box around the digit, and ten, the scores of the classes. What is measured is the mean intersection over union of
// the boxes.
#include <cmath>

#include "common/supervised.h"
#include "localize/scenes.h"

using namespace tenrec;
using namespace examples;

namespace {

// Canvases [n, 1, 64, 64] to [n, 14]: a box as left, top, right, bottom in parts of the canvas, and logits.
class Net : public Module {
 public:
  Tensor operator()(const Tensor& x) const {
    const ModuleScope scope(*this);
    const Tensor y = head(features(x)), box = sigmoid(narrow(y, 1, 0, 4));
    // The network speaks of centre and half sides, which are right or wrong one by one.
    const Tensor centre = narrow(box, 1, 0, 2), half = narrow(box, 1, 2, 2) * 0.5;
    return cat({centre - half, centre + half, narrow(y, 1, 4, 10)}, 1);
  }
  void visit(Visitor& v) override {
    v("features", features);
    v("head", head);
  }

 private:
  Sequential features{Conv2d(1, 16, 5, {.stride = 2, .padding = 2}),
                      ReLU(),
                      Conv2d(16, 32, 3, {.padding = 1}),
                      MaxPool2d(2),
                      ReLU(),
                      Conv2d(32, 64, 3, {.padding = 1}),
                      MaxPool2d(2),
                      ReLU(),
                      Conv2d(64, 64, 3, {.padding = 1}),
                      ReLU(),
                      Flatten(),
                      Linear(4096, 128),
                      ReLU()};
  Linear head{128, 14};
};

Tensor boxes_of(const Tensor& rows) { return narrow(rows, 1, 0, 4); }
Tensor classes_of(const Tensor& targets) { return select(targets, 1, 4).to(i64); }

// The area of boxes [n, 4]; one that is inside out has none.
Tensor area(const Tensor& b) {
  const Tensor sides = clamp_min(narrow(b, 1, 2, 2) - narrow(b, 1, 0, 2), 0);
  return select(sides, 1, 0) * select(sides, 1, 1);
}
// Intersection over union of each pair, [n].
Tensor overlap(const Tensor& a, const Tensor& b) {
  const Tensor both =
      area(cat({maximum(narrow(a, 1, 0, 2), narrow(b, 1, 0, 2)), minimum(narrow(a, 1, 2, 2), narrow(b, 1, 2, 2))}, 1));
  return both / (area(a) + area(b) - both + 1e-9);
}

// The class, the edges (which pull from afar too), and the overlap itself.
Tensor loss_of(const Tensor& outputs, const Tensor& targets) {
  const Tensor boxes = boxes_of(outputs).to(f32), truth = boxes_of(targets);
  const Tensor edges = smooth_l1_loss(boxes, truth, Reduction::mean, 0.05);
  return cross_entropy(narrow(outputs, 1, 4, 10), classes_of(targets)) + edges * 10.0 + 1.0 -
         mean(overlap(boxes, truth));
}

std::vector<Measure> measures() {
  return {{"mean_iou", "IoU", false,
           [](const Tensor& outputs, const Tensor& targets) {
             const NoGrad off;
             return sum(overlap(boxes_of(outputs).to(f32), boxes_of(targets).to(outputs.device()))).item<double>();
           }},
          {"test_accuracy", "accuracy", true, [](const Tensor& outputs, const Tensor& targets) {
             return accuracy().sum(narrow(outputs, 1, 4, 10), classes_of(targets));
           }}};
}

// The first scenes of the test set, the true box in grey and what the network says in orange.
void draw_boxes(const std::string& path, const Supervised& run) {
  constexpr int64_t kColumns = 8, kRows = 4, kScale = 2, kCell = kSceneSide * kScale + 6;
  eval(run.model);
  run.test.seek({});
  const std::optional<Example> batch = run.test.next();
  const std::vector<float> seen = predict(run, batch->input()).to_vector<float>(),
                           is = batch->target().to_vector<float>();
  Canvas canvas(kColumns * kCell + 6, kRows * kCell + 6);
  for (int64_t i = 0; i < std::min(kColumns * kRows, batch->input().size(0)); ++i) {
    const int64_t x = 6 + i % kColumns * kCell, y = 6 + i / kColumns * kCell;
    const Picture scene = to_picture(select(batch->input(), 0, i));
    canvas.image(x, y, scene.pixels.data(), 1, kSceneSide, kSceneSide, kScale);
    const auto box = [&](const float* edges, Color color) {
      int64_t at[4];
      for (int k = 0; k < 4; ++k) at[k] = std::lround(std::clamp(edges[k], 0.0f, 1.0f) * kSceneSide * kScale);
      canvas.rect(x + at[0], y + at[1], std::max<int64_t>(at[2] - at[0], 1), std::max<int64_t>(at[3] - at[1], 1),
                  color);
    };
    box(&is[size_t(i * 5)], kGrey);
    box(&seen[size_t(i * 14)], palette(0));
  }
  canvas.save(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Finds a digit on a canvas", "localize");
  Flags flags;
  std::string picture;
  int64_t train_size = -1, test_size = -1;
  add_common_flags(app, flags);
  app.add_option("--picture", picture, "PNG of scenes with the boxes that were found");
  app.add_option("--train-size", train_size, "Use only the first examples of the procedural digits");
  app.add_option("--test-size", test_size, "The same of those it is tested on");
  return run_app(app, argc, argv, [&] {
    apply(flags);
    refuse_flags(app, {"--download"});
    if (!picture.empty()) check_writable(picture);
    const bool real = !flags.data.empty();
    const auto open = [&](Split split) {
      const int64_t count = split == Split::train ? train_size : test_size;
      return Scenes(real ? read_mnist(flags.data, split) : make_digits(split, kDigitSeed, 0, count),
                    split == Split::train ? 1 : 2);
    };
    const int64_t epochs = flags.epochs > 0 ? flags.epochs : 3;
    DataLoader train_data(
        open(Split::train),
        {.batch_size = flags.batch_size > 0 ? flags.batch_size : 64, .shuffle = true, .seed = flags.seed});
    DataLoader test_data(open(Split::test), {.batch_size = 500});
    Net model;
    Adam optimizer(parameters(model), {.lr = 1e-3});
    OneCycleLR scheduler(
        optimizer,
        {.max_lr = flags.lr > 0 ? flags.lr : 1e-3, .total_steps = epochs * train_data.batches(), .pct_start = 0.2});
    const Supervised run{"localize",
                         "cnn",
                         real ? "mnist" : "digits",
                         model,
                         [&](const Tensor& x) { return model(x); },
                         optimizer,
                         scheduler,
                         train_data,
                         test_data,
                         epochs,
                         flags,
                         loss_of,
                         measures()};
    const nlohmann::ordered_json result = train_supervised(run);
    if (!picture.empty()) draw_boxes(picture, run);
    print_result(result);
  });
}
