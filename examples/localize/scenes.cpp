#include "localize/scenes.h"

#include <algorithm>

namespace examples {

using namespace tenrec;

namespace {

constexpr int64_t kSmallest = 20, kLargest = 44;  // side of the digit's picture, which is 28 in the set
constexpr int64_t kPieces = 4, kPieceSide = 8;  // of other digits (Mnih et al., "Recurrent models of visual attention",
                                                // 2014, have them so)
constexpr uint8_t kInk = 64;                    // what counts as ink

struct Box {
  int64_t left = kSceneSide, top = kSceneSide, right = 0, bottom = 0;
};

// The brighter of what is there and the picture [side, side], its top left corner at (x, y).
void paste(const uint8_t* picture, int64_t side, int64_t x, int64_t y, uint8_t* canvas, Box* box) {
  for (int64_t row = 0; row < side; ++row) {
    for (int64_t column = 0; column < side; ++column) {
      const uint8_t value = picture[row * side + column];
      uint8_t& pixel = canvas[(y + row) * kSceneSide + x + column];
      pixel = std::max(pixel, value);
      if (box == nullptr || value < kInk) continue;
      box->left = std::min(box->left, x + column), box->right = std::max(box->right, x + column + 1);
      box->top = std::min(box->top, y + row), box->bottom = std::max(box->bottom, y + row + 1);
    }
  }
}

}  // namespace

Example Scenes::get(int64_t index) const {
  check_index("Scenes", index);
  const Philox philox(seed_);
  auto draw = [&, used = uint64_t(0)](int64_t n) mutable {  // in [0, n)
    return int64_t((uint64_t(philox(uint64_t(index), used++).word[0]) * uint64_t(n)) >> 32);
  };
  const int64_t side = digits_->height;
  uint8_t canvas[kSceneSide * kSceneSide] = {};
  for (int64_t i = 0; i < kPieces; ++i) {
    const uint8_t* other = digits_->image(draw(size()));
    const int64_t left = draw(side - kPieceSide + 1), top = draw(side - kPieceSide + 1);
    uint8_t piece[kPieceSide * kPieceSide];
    for (int64_t y = 0; y < kPieceSide; ++y)
      std::copy_n(other + (top + y) * side + left, kPieceSide, piece + y * kPieceSide);
    const int64_t x = draw(kSceneSide - kPieceSide + 1), y = draw(kSceneSide - kPieceSide + 1);
    paste(piece, kPieceSide, x, y, canvas, nullptr);
  }
  const int64_t scaled = kSmallest + draw(kLargest - kSmallest + 1);
  const Picture digit{side, side, 1, {digits_->image(index), digits_->image(index) + side * side}};
  const Tensor resized = resize_image(from_picture(digit), scaled, scaled);
  Box box;
  const int64_t x = draw(kSceneSide - scaled + 1), y = draw(kSceneSide - scaled + 1);
  paste(resized.data<uint8_t>(), scaled, x, y, canvas, &box);

  // On the CPU, whatever the device of new tensors is: a loader stacks examples there.
  const Tensor scene = empty({1, kSceneSide, kSceneSide}, {.device = kCpu}), target = empty({5}, {.device = kCpu});
  auto* pixels = scene.data<float>();
  for (const uint8_t value : canvas) *pixels++ = float(value) / 255;
  auto* numbers = target.data<float>();
  for (const int64_t edge : {box.left, box.top, box.right, box.bottom}) *numbers++ = float(edge) / kSceneSide;
  *numbers = float(digits_->labels[size_t(index)]);
  return {{scene, target}};
}

}  // namespace examples
