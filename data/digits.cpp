#include "tenrec/data/digits.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "tenrec/data/digit_skeletons_impl.h"
#include "tenrec/data/draws_impl.h"

namespace tenrec {
namespace {

using detail::Draws;
using detail::PenPoint;
using detail::PenStroke;
using detail::Skeleton;

constexpr int kSide = int(kDigitSide);
constexpr float kBox = 20.0f;     // the side of the square that holds the ink
constexpr int kStepsPerSpan = 5;  // line pieces between two control points
constexpr int kField = 5;         // control values of the elastic field, a side

constexpr uint64_t kDomain = 0x646967697473ULL;  // "digits": keeps these draws apart from others of the same seed

// A smooth displacement of the plane: quadratic B-splines over a coarse grid of random vectors.
class ElasticField {
 public:
  ElasticField(Draws& draws, float amplitude) {
    for (auto& row : grid_) {
      for (PenPoint& v : row) v = PenPoint{draws.bell(amplitude), draws.bell(amplitude)};
    }
  }
  PenPoint at(PenPoint p) const {
    float wx[3], wy[3];
    const int ix = weights(p.x / 10.0f, wx), iy = weights(p.y / 14.0f, wy);
    PenPoint sum{0, 0};
    for (int j = 0; j < 3; ++j) {
      for (int i = 0; i < 3; ++i) {
        sum.x += wy[j] * wx[i] * grid_[iy + j][ix + i].x;
        sum.y += wy[j] * wx[i] * grid_[iy + j][ix + i].y;
      }
    }
    return sum;
  }

 private:
  // Position in [0, 1] to the first of three grid lines and their weights.
  static int weights(float position, float w[3]) {
    const float scaled = std::clamp(position, 0.0f, 1.0f) * float(kField - 2);
    const int first = std::min(int(scaled), kField - 3);
    const float t = scaled - float(first);
    w[0] = 0.5f * (1 - t) * (1 - t);
    w[1] = 0.5f + t * (1 - t);
    w[2] = 0.5f * t * t;
    return first;
  }
  PenPoint grid_[kField][kField];
};

// A piece of the drawn line: centre and half width.
struct Dot {
  float x, y, radius;
};

struct Ink {
  std::vector<Dot> dots;
  std::vector<int> ends;  // where each stroke ends in dots
};

const Skeleton& choose(const std::vector<Skeleton>& ways, Draws& draws) {
  float total = 0;
  for (const Skeleton& way : ways) total += way.weight;
  float rest = draws.uniform(0, total);
  for (const Skeleton& way : ways) {
    if (rest < way.weight) return way;
    rest -= way.weight;
  }
  return ways.back();
}

PenPoint catmull_rom(PenPoint a, PenPoint b, PenPoint c, PenPoint d, float t) {
  const auto mix = [t](float p0, float p1, float p2, float p3) {
    return p1 + 0.5f * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)));
  };
  return {mix(a.x, b.x, c.x, d.x), mix(a.y, b.y, c.y, d.y)};
}

bool same(PenPoint a, PenPoint b) { return a.x == b.x && a.y == b.y; }

// The control points after jitter and the elastic field. The two points of a corner move together.
void bend(const PenStroke& stroke, const ElasticField& field, float jitter, Draws& draws, PenStroke& out) {
  out.clear();
  PenPoint offset{0, 0};
  for (size_t i = 0; i < stroke.size(); ++i) {
    if (i == 0 || !same(stroke[i], stroke[i - 1])) offset = PenPoint{draws.bell(jitter), draws.bell(jitter)};
    const PenPoint push = field.at(stroke[i]);
    out.push_back({stroke[i].x + offset.x + push.x, stroke[i].y + offset.y + push.y});
  }
}

// Samples the curve through the points.
void trace(const PenStroke& points, Ink& ink) {
  const int last = int(points.size()) - 1;
  const auto at = [&](int i) { return points[size_t(std::clamp(i, 0, last))]; };
  for (int i = 0; i < last; ++i) {
    if (same(at(i), at(i + 1))) continue;
    // Beside a corner the tangent follows the chord, so the corner stays sharp.
    for (int step = 0; step < kStepsPerSpan; ++step) {
      const PenPoint p = catmull_rom(at(i - 1), at(i), at(i + 1), at(i + 2), float(step) / kStepsPerSpan);
      ink.dots.push_back({p.x, p.y, 0});
    }
  }
  ink.dots.push_back({at(last).x, at(last).y, 0});
  ink.ends.push_back(int(ink.dots.size()));
}

// Aspect, shear and rotation, as one matrix.
void deform(Ink& ink, int digit, Draws& draws) {
  const float aspect = draws.uniform(0.6f, 1.65f);
  const float shear = 0.15f + draws.bell(0.32f);
  const float half = 0.5f * draws.bell(digit == 1 ? 0.16f : 0.12f);  // tangent of half the angle
  const float cosine = (1 - half * half) / (1 + half * half), sine = 2 * half / (1 + half * half);
  for (Dot& dot : ink.dots) {
    const float y = dot.y - 7, x = aspect * (dot.x - 5) - shear * y;
    dot.x = cosine * x - sine * y;
    dot.y = sine * x + cosine * y;
  }
}

// Pen width along the strokes, in pixels of the final picture.
void press(Ink& ink, int digit, Draws& draws) {
  const float radius = std::max(0.7f, 1.45f + draws.bell(digit == 1 ? 0.6f : 0.42f));
  const float swing = draws.uniform(0.0f, 0.25f);
  int begin = 0;
  for (const int end : ink.ends) {
    const float from = 1 + draws.bell(swing), to = 1 + draws.bell(swing);
    for (int i = begin; i < end; ++i) {
      const float t = float(i - begin) / float(std::max(1, end - begin - 1));
      ink.dots[size_t(i)].radius = radius * (from + (to - from) * t);
    }
    begin = end;
  }
}

// MNIST's normalisation: the ink fits the box, the centre of mass is the picture's centre.
void normalise(Ink& ink, Draws& draws) {
  float low_x = 1e9f, high_x = -1e9f, low_y = 1e9f, high_y = -1e9f, radius = 0;
  for (const Dot& dot : ink.dots) {
    low_x = std::min(low_x, dot.x), high_x = std::max(high_x, dot.x);
    low_y = std::min(low_y, dot.y), high_y = std::max(high_y, dot.y);
    radius = std::max(radius, dot.radius);
  }
  const float side = std::max(std::max(high_x - low_x, high_y - low_y), 1.0f);
  const float scale = (kBox * draws.uniform(0.95f, 1.0f) - 2 * radius) / side;
  float mass = 0, mass_x = 0, mass_y = 0;
  int begin = 0;
  for (const int end : ink.ends) {
    for (int i = begin + 1; i < end; ++i) {
      const Dot &a = ink.dots[size_t(i - 1)], &b = ink.dots[size_t(i)];
      const float length = std::sqrt((b.x - a.x) * (b.x - a.x) + (b.y - a.y) * (b.y - a.y));
      const float weight = length * (a.radius + b.radius);
      mass += weight;
      mass_x += weight * 0.5f * (a.x + b.x);
      mass_y += weight * 0.5f * (a.y + b.y);
    }
    begin = end;
  }
  const float centre_x = kSide / 2.0f + 0.5f + draws.bell(0.4f), centre_y = kSide / 2.0f + 0.5f + draws.bell(0.4f);
  for (Dot& dot : ink.dots) {
    dot.x = centre_x + scale * (dot.x - mass_x / mass);
    dot.y = centre_y + scale * (dot.y - mass_y / mass);
  }
}

// Raises `cover` to the pen's coverage of one line piece: 1 inside, falling to 0 over `soft` pixels at the edge.
void draw_piece(const Dot& a, const Dot& b, float soft, float* cover) {
  const float reach = std::max(a.radius, b.radius) + soft;
  const int x0 = std::clamp(int(std::min(a.x, b.x) - reach), 0, kSide),
            y0 = std::clamp(int(std::min(a.y, b.y) - reach), 0, kSide);
  const int x1 = std::clamp(int(std::max(a.x, b.x) + reach) + 1, 0, kSide),
            y1 = std::clamp(int(std::max(a.y, b.y) + reach) + 1, 0, kSide);
  const float dx = b.x - a.x, dy = b.y - a.y, length2 = std::max(dx * dx + dy * dy, 1e-12f);
  const float slope = 1 / soft, per_length = 1 / length2;
  for (int y = y0; y < y1; ++y) {
    const float py = float(y) + 0.5f - a.y;
    float* row = cover + y * kSide;
    for (int x = x0; x < x1; ++x) {
      const float px = float(x) + 0.5f - a.x;
      const float t = std::clamp((px * dx + py * dy) * per_length, 0.0f, 1.0f);
      const float ex = px - t * dx, ey = py - t * dy;
      const float distance = std::sqrt(ex * ex + ey * ey);
      const float value = (a.radius + t * (b.radius - a.radius) - distance) * slope + 0.5f;
      row[x] = std::max(row[x], std::min(value, 1.0f));
    }
  }
}

void render(const Ink& ink, Draws& draws, uint8_t* pixels) {
  float cover[kSide * kSide] = {};
  const float soft = draws.uniform(0.9f, 1.6f);
  int begin = 0;
  for (const int end : ink.ends) {
    for (int i = begin + 1; i < end; ++i) draw_piece(ink.dots[size_t(i - 1)], ink.dots[size_t(i)], soft, cover);
    begin = end;
  }
  const float noise = draws.uniform(0.0f, 0.12f), level = draws.uniform(248.0f, 262.0f);
  for (int i = 0; i < kSide * kSide; ++i) {
    float value = cover[i];
    if (value > 0) value += draws.bell(noise) * (0.2f + value * (1 - value) * 3);  // paper is blank, edges are rough
    pixels[i] = uint8_t(std::clamp(value * level, 0.0f, 255.0f));
  }
}

}  // namespace

int64_t digit_count(Split split) { return split == Split::train ? 60'000 : 10'000; }

uint8_t draw_digit(Split split, uint64_t seed, int64_t index, uint8_t* pixels) {
  Draws draws(seed ^ kDomain, split, index);
  const int digit = int(draws.below(10));
  const Skeleton& way = choose(detail::digit_skeletons(digit), draws);
  const float bendable = digit == 1 ? 0.6f : 1.0f;  // a 1 has nothing but its straightness
  const float jitter = bendable * draws.uniform(0.15f, 0.6f);
  const ElasticField field(draws, bendable * draws.uniform(0.3f, 1.8f));
  Ink ink;
  ink.dots.reserve(128);
  PenStroke bent;
  for (const PenStroke& stroke : way.strokes) {
    bend(stroke, field, jitter, draws, bent);
    trace(bent, ink);
  }
  deform(ink, digit, draws);
  press(ink, digit, draws);
  normalise(ink, draws);
  render(ink, draws, pixels);
  return uint8_t(digit);
}

ImageSet make_digits(Split split, uint64_t seed, int64_t first, int64_t count) {
  ImageSet set = detail::draw_pictures("digits", split, digit_count(split), 1, kDigitSide, first, count,
                                       [&](int64_t i, uint8_t* pixels) { return draw_digit(split, seed, i, pixels); });
  for (int digit = 0; digit < 10; ++digit) set.classes.push_back(std::to_string(digit));
  return set;
}

}  // namespace tenrec
