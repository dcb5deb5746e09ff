#include "tenrec/data/shapes.h"

#include <algorithm>
#include <cmath>

#include "tenrec/data/draws_impl.h"

namespace tenrec {
namespace {

using detail::Draws;

constexpr int kSide = int(kShapeSide), kPlane = kSide * kSide;
constexpr uint64_t kDomain = 0x736861706573ULL;  // "shapes": keeps these draws apart from others of the same seed

struct Point {
  float x, y;
};
struct Colour {
  float c[3];
};

float length(Point p) { return std::sqrt(p.x * p.x + p.y * p.y); }

// The unit vectors to the corners of a regular polygon, from the top; written out, for no library's sine is exact.
constexpr Point kThree[] = {{0, -1}, {0.8660254f, 0.5f}, {-0.8660254f, 0.5f}};
constexpr Point kFive[] = {{0, -1},
                           {0.95105652f, -0.30901699f},
                           {0.58778525f, 0.80901699f},
                           {-0.58778525f, 0.80901699f},
                           {-0.95105652f, -0.30901699f}};

// How far each point lies outside a shape of radius about 1 (negative: inside).
float disc(Point p) { return length(p) - 0.9f; }
float ring(Point p) { return std::abs(length(p) - 0.74f) - 0.2f; }
float half_disc(Point p) { return std::max(length(p) - 1, -0.3f - p.x); }
float crescent(Point p) { return std::max(length(p) - 0.95f, 0.8f - length({p.x - 0.5f, p.y})); }
float triangle(Point p) {
  float far = -2;
  for (const Point n : kThree) far = std::max(far, -p.x * n.x - p.y * n.y - 0.52f);
  return far;
}
float square(Point p) { return std::max(std::abs(p.x), std::abs(p.y)) - 0.78f; }
float frame(Point p) { return std::abs(std::max(std::abs(p.x), std::abs(p.y)) - 0.66f) - 0.18f; }
float bar(Point p) { return std::max(std::abs(p.x) - 1, std::abs(p.y) - 0.32f); }
float cross(Point p) {
  const float x = std::abs(p.x), y = std::abs(p.y);
  return std::min(std::max(x - 0.95f, y - 0.3f), std::max(y - 0.95f, x - 0.3f));
}
// Five lines make a pentagram; its points are outside one of them and inside the others.
float star(Point p) {
  float first = -2, second = -2;
  for (const Point n : kFive) {
    const float outside = -p.x * n.x - p.y * n.y - 0.36f;
    second = std::max(second, std::min(first, outside));
    first = std::max(first, outside);
  }
  return std::max(second, length(p) - 1.15f);
}

struct Kind {
  const char* name;
  float (*outside)(Point);
};
constexpr Kind kKinds[] = {{"disc", disc},         {"ring", ring},     {"half disc", half_disc}, {"crescent", crescent},
                           {"triangle", triangle}, {"square", square}, {"frame", frame},         {"bar", bar},
                           {"cross", cross},       {"star", star}};
constexpr int kCount = int(std::size(kKinds));

Colour draw_colour(Draws& draws) {
  Colour colour{};
  for (float& c : colour.c) c = draws.uniform(0.05f, 0.95f);
  return colour;
}

float distance(Colour a, Colour b) {
  float sum = 0;
  for (int i = 0; i < 3; ++i) sum += (a.c[i] - b.c[i]) * (a.c[i] - b.c[i]);
  return std::sqrt(sum);
}

// A direction, evenly from all around: a point of the disc, brought to its edge.
Point direction(Draws& draws) {
  for (;;) {
    const Point p{draws.uniform(-1, 1), draws.uniform(-1, 1)};
    const float r = length(p);
    if (r > 0.1f && r <= 1) return {p.x / r, p.y / r};
  }
}

struct Scene {
  float pixels[3][kPlane];

  template <class Cover>
  void paint(Colour colour, const Cover& cover) {
    for (int i = 0; i < kPlane; ++i) {
      const float a = std::clamp(cover(Point{float(i % kSide) + 0.5f, float(i / kSide) + 0.5f}), 0.0f, 1.0f);
      for (int c = 0; c < 3; ++c) pixels[c][i] += a * (colour.c[c] - pixels[c][i]);
    }
  }
};

// The background: one colour that goes over into another, and blobs.
void paint_background(Scene& scene, Colour from, Colour to, Draws& draws) {
  const Point way = direction(draws);
  scene.paint(from, [](Point) { return 1.0f; });
  scene.paint(to, [&](Point p) { return 0.5f + ((p.x - 16) * way.x + (p.y - 16) * way.y) * (1 / 40.0f); });
  for (int64_t blobs = draws.below(4); blobs > 0; --blobs) {
    const Point centre{draws.uniform(0, 32), draws.uniform(0, 32)};
    const float radius = draws.uniform(3, 10), strength = draws.uniform(0.2f, 0.6f);
    scene.paint(draw_colour(draws), [&](Point p) {
      const float r = length({p.x - centre.x, p.y - centre.y}) / radius;
      return strength * (1 - r * r);
    });
  }
}

void paint_shape(Scene& scene, const Kind& kind, Colour colour, Draws& draws) {
  const float radius = draws.uniform(6, 13), room = 15.5f - radius;
  const Point centre{16 + draws.uniform(-room, room), 16 + draws.uniform(-room, room)}, turn = direction(draws);
  const float stretch = draws.uniform(0.85f, 1.15f), opacity = draws.uniform(0.75f, 1),
              soft = draws.uniform(0.8f, 1.6f);
  scene.paint(colour, [&](Point p) {
    const float x = (p.x - centre.x) / radius, y = (p.y - centre.y) / radius;
    const Point local{(turn.x * x + turn.y * y) * stretch, (turn.x * y - turn.y * x) / stretch};
    return opacity * std::clamp(0.5f - kind.outside(local) * radius / soft, 0.0f, 1.0f);
  });
}

}  // namespace

int64_t shape_count(Split split) { return split == Split::train ? 50'000 : 10'000; }

uint8_t draw_shape(Split split, uint64_t seed, int64_t index, uint8_t* pixels) {
  Draws draws(seed ^ kDomain, split, index);
  const auto label = int(draws.below(kCount));
  const Colour from = draw_colour(draws), to = draw_colour(draws);
  Colour colour = draw_colour(draws);
  while (std::min(distance(colour, from), distance(colour, to)) < 0.35f) colour = draw_colour(draws);
  Scene scene;
  for (auto& plane : scene.pixels) std::fill(std::begin(plane), std::end(plane), 0.0f);
  paint_background(scene, from, to, draws);
  paint_shape(scene, kKinds[label], colour, draws);
  const float noise = draws.uniform(0.01f, 0.08f);
  for (const auto& plane : scene.pixels) {
    for (const float value : plane)
      *pixels++ = uint8_t(std::clamp((value + draws.bell(noise)) * 255 + 0.5f, 0.0f, 255.0f));
  }
  return uint8_t(label);
}

ImageSet make_shapes(Split split, uint64_t seed, int64_t first, int64_t count) {
  ImageSet set = detail::draw_pictures("shapes", split, shape_count(split), 3, kShapeSide, first, count,
                                       [&](int64_t i, uint8_t* pixels) { return draw_shape(split, seed, i, pixels); });
  for (const Kind& kind : kKinds) set.classes.emplace_back(kind.name);
  return set;
}

}  // namespace tenrec
