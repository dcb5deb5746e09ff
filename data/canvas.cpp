#include "tenrec/data/canvas.h"

#include <algorithm>
#include <cmath>

#include "tenrec/core/error.h"
#include "tenrec/data/font_impl.h"
#include "tenrec/data/png.h"

namespace tenrec {
namespace {

constexpr int64_t kMaxSide = 16'384;
constexpr int64_t kAdvance = detail::kGlyphWidth + 1;

const char* glyph(char c) {
  const int code = static_cast<unsigned char>(c);
  return detail::kGlyphs[code >= 32 && code < 127 ? code - 32 : '?' - 32];
}

bool has_ink(const char* rows, int column, int row) { return rows[row * kAdvance + column] == '#'; }

Color mix(Color a, Color b, double t) {
  const auto channel = [t](uint8_t from, uint8_t to) { return uint8_t(std::lround(from + (to - from) * t)); };
  return {channel(a.r, b.r), channel(a.g, b.g), channel(a.b, b.b)};
}

double clamp_unit(double value) { return value >= 0 ? std::min(value, 1.0) : 0.0; }  // NaN becomes 0

// First and last pixel of a range, kept within [0, size): the range may lie far outside or be NaN.
int64_t pixel(double value, int64_t size) {
  return int64_t(std::clamp(std::isnan(value) ? -1.0 : value, -1.0, double(size)));
}

}  // namespace

Color palette(int64_t i) {
  constexpr Color colors[8] = {{0, 114, 178}, {213, 94, 0},   {0, 158, 115}, {204, 121, 167},
                               {230, 159, 0}, {86, 180, 233}, {90, 90, 90},  {170, 150, 20}};
  return colors[((i % 8) + 8) % 8];
}

Color diverging_color(double value) {
  const double v = clamp_unit(value);
  return v < 0.5 ? mix({33, 102, 172}, {247, 247, 247}, v * 2) : mix({247, 247, 247}, {214, 96, 30}, v * 2 - 1);
}

Color sequential_color(double value) { return mix(kWhite, {8, 64, 129}, clamp_unit(value)); }

Canvas::Canvas(int64_t width, int64_t height, Color background) : width_(width), height_(height) {
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    fail<ValueError>("Canvas: ", width, "x", height, " pixels, each side must be 1 to ", kMaxSide);
  }
  pixels_.resize(size_t(width * height * 3));
  fill_rect(0, 0, width, height, background);
}

Color Canvas::at(int64_t x, int64_t y) const {
  if (x < 0 || y < 0 || x >= width_ || y >= height_) {
    fail<IndexError>("Canvas: pixel (", x, ", ", y, ") of a picture of ", width_, "x", height_);
  }
  const uint8_t* p = &pixels_[size_t((y * width_ + x) * 3)];
  return {p[0], p[1], p[2]};
}

void Canvas::blend(int64_t x, int64_t y, Color color, double opacity) {
  if (x < 0 || y < 0 || x >= width_ || y >= height_ || opacity <= 0) return;
  const Color result = mix(at(x, y), color, std::min(opacity, 1.0));
  uint8_t* p = &pixels_[size_t((y * width_ + x) * 3)];
  p[0] = result.r, p[1] = result.g, p[2] = result.b;
}

void Canvas::fill_rect(int64_t x, int64_t y, int64_t width, int64_t height, Color color) {
  const int64_t x1 = std::min(x + width, width_), y1 = std::min(y + height, height_);
  for (int64_t row = std::max<int64_t>(y, 0); row < y1; ++row) {
    for (int64_t column = std::max<int64_t>(x, 0); column < x1; ++column) set(column, row, color);
  }
}

void Canvas::rect(int64_t x, int64_t y, int64_t width, int64_t height, Color color) {
  fill_rect(x, y, width, 1, color);
  fill_rect(x, y + height - 1, width, 1, color);
  fill_rect(x, y, 1, height, color);
  fill_rect(x + width - 1, y, 1, height, color);
}

void Canvas::line(double x0, double y0, double x1, double y1, Color color, double width) {
  const double reach = width / 2 + 1, dx = x1 - x0, dy = y1 - y0;
  const double length2 = std::max(dx * dx + dy * dy, 1e-12);
  if (!std::isfinite(length2)) return;
  const int64_t left = pixel(std::min(x0, x1) - reach, width_), right = pixel(std::max(x0, x1) + reach, width_);
  const int64_t top = pixel(std::min(y0, y1) - reach, height_), bottom = pixel(std::max(y0, y1) + reach, height_);
  for (int64_t y = top; y <= bottom; ++y) {
    for (int64_t x = left; x <= right; ++x) {
      const double px = double(x) + 0.5 - x0, py = double(y) + 0.5 - y0;
      const double t = std::clamp((px * dx + py * dy) / length2, 0.0, 1.0);
      blend(x, y, color, width / 2 + 0.5 - std::hypot(px - t * dx, py - t * dy));
    }
  }
}

void Canvas::disc(double x, double y, double radius, Color color) { line(x, y, x, y, color, 2 * radius); }

void Canvas::text(int64_t x, int64_t y, std::string_view text, Color color, int64_t scale) {
  for (const char c : text) {
    for (int row = 0; row < detail::kGlyphHeight; ++row) {
      for (int column = 0; column < detail::kGlyphWidth; ++column) {
        if (has_ink(glyph(c), column, row)) fill_rect(x + column * scale, y + row * scale, scale, scale, color);
      }
    }
    x += kAdvance * scale;
  }
}

void Canvas::vertical_text(int64_t x, int64_t y, std::string_view text, Color color, int64_t scale) {
  for (const char c : text) {
    for (int row = 0; row < detail::kGlyphHeight; ++row) {
      for (int column = 0; column < detail::kGlyphWidth; ++column) {
        if (has_ink(glyph(c), column, row)) fill_rect(x + row * scale, y - (column + 1) * scale, scale, scale, color);
      }
    }
    y -= kAdvance * scale;
  }
}

int64_t Canvas::text_width(std::string_view text, int64_t scale) {
  return text.empty() ? 0 : (int64_t(text.size()) * kAdvance - 1) * scale;
}

int64_t Canvas::text_height(int64_t scale) { return detail::kGlyphHeight * scale; }

void Canvas::image(int64_t x, int64_t y, const uint8_t* planes, int64_t channels, int64_t height, int64_t width,
                   int64_t scale) {
  if (channels != 1 && channels != 3) fail<ValueError>("Canvas: a picture of ", channels, " channels, expected 1 or 3");
  const int64_t plane = height * width;
  for (int64_t i = 0; i < plane; ++i) {
    const uint8_t* p = planes + i;
    const Color color = channels == 1 ? Color{p[0], p[0], p[0]} : Color{p[0], p[plane], p[2 * plane]};
    fill_rect(x + i % width * scale, y + i / width * scale, scale, scale, color);
  }
}

void Canvas::paste(int64_t x, int64_t y, const Canvas& other) {
  for (int64_t row = 0; row < other.height_; ++row) {
    for (int64_t column = 0; column < other.width_; ++column) set(x + column, y + row, other.at(column, row));
  }
}

void Canvas::save(const std::string& path) const { write_png(path, pixels_.data(), width_, height_, 3); }

Canvas side_by_side(const std::vector<Canvas>& parts, Color background) {
  int64_t width = 0, height = 0;
  for (const Canvas& part : parts) {
    width += part.width();
    height = std::max(height, part.height());
  }
  Canvas whole(width, height, background);
  int64_t x = 0;
  for (const Canvas& part : parts) {
    whole.paste(x, 0, part);
    x += part.width();
  }
  return whole;
}

}  // namespace tenrec
