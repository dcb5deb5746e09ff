// A small RGB picture to draw on: lines, discs, rectangles, text, other pictures. Plots (data/plot.h) are built on it.
//
// Coordinates are in pixels, x to the right, y downwards; what lies outside the picture is cut off.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenrec {

struct Color {
  uint8_t r = 0, g = 0, b = 0;
  friend bool operator==(const Color&, const Color&) = default;
};

inline constexpr Color kBlack{0, 0, 0}, kWhite{255, 255, 255}, kGrey{150, 150, 150}, kLightGrey{225, 225, 225};

// Colour i of a palette that colour-blind readers can tell apart (Okabe and Ito, 2008); repeats after eight.
Color palette(int64_t i);
// Blue below 0.5, white at 0.5, orange above; value is clamped to [0, 1].
Color diverging_color(double value);
// White at 0 to dark blue at 1; value is clamped to [0, 1].
Color sequential_color(double value);

class Canvas {
 public:
  // Throws ValueError unless both sides are 1 to 16,384.
  Canvas(int64_t width, int64_t height, Color background = kWhite);

  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  // [height, width, 3].
  const std::vector<uint8_t>& pixels() const { return pixels_; }
  Color at(int64_t x, int64_t y) const;

  void set(int64_t x, int64_t y, Color color) { blend(x, y, color, 1.0); }
  // Lays `color` over a pixel with the given opacity.
  void blend(int64_t x, int64_t y, Color color, double opacity);
  void fill_rect(int64_t x, int64_t y, int64_t width, int64_t height, Color color);
  // The outline, one pixel wide.
  void rect(int64_t x, int64_t y, int64_t width, int64_t height, Color color);
  // Anti-aliased, with round ends.
  void line(double x0, double y0, double x1, double y1, Color color, double width = 1.5);
  void disc(double x, double y, double radius, Color color);
  // Text in a 5x7 bitmap font, its top left corner at (x, y), each dot scale x scale pixels. Characters outside
  // printable ASCII show as '?'.
  void text(int64_t x, int64_t y, std::string_view text, Color color = kBlack, int64_t scale = 1);
  // The same, running upwards from (x, y), its bottom left corner.
  void vertical_text(int64_t x, int64_t y, std::string_view text, Color color = kBlack, int64_t scale = 1);
  static int64_t text_width(std::string_view text, int64_t scale = 1);
  static int64_t text_height(int64_t scale = 1);
  // A picture of bytes as readers give them: planes [channels, height, width], 1 or 3 channels; each pixel becomes
  // scale x scale pixels.
  void image(int64_t x, int64_t y, const uint8_t* planes, int64_t channels, int64_t height, int64_t width,
             int64_t scale = 1);
  void paste(int64_t x, int64_t y, const Canvas& other);

  // Writes a PNG. Throws IOError.
  void save(const std::string& path) const;

 private:
  int64_t width_, height_;
  std::vector<uint8_t> pixels_;
};

// Pictures side by side, top edges aligned.
Canvas side_by_side(const std::vector<Canvas>& parts, Color background = kWhite);

}  // namespace tenrec
