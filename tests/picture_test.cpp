// PNG files, drawing and plots.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "support/files.h"
#include "tenrec/core/error.h"
#include "tenrec/core/philox.h"
#include "tenrec/data/digits.h"
#include "tenrec/data/plot.h"
#include "tenrec/data/png.h"

namespace tenrec {
namespace {

using testing::Bytes;
using testing::message_of;
using testing::slurp;
using testing::TempFolder;

Picture noise(int64_t width, int64_t height, int64_t channels) {
  Picture picture{width, height, channels, {}};
  for (int64_t i = 0; i < width * height * channels; ++i) {
    picture.pixels.push_back(uint8_t(Philox(1)(0, uint64_t(i)).word[0]));
  }
  return picture;
}

TEST(Png, RoundTrip) {
  const TempFolder folder;
  for (const int64_t channels : {1, 3}) {
    for (const auto& [width, height] : {std::pair<int64_t, int64_t>{1, 1}, {7, 3}, {64, 65}, {1000, 1}}) {
      const Picture picture = noise(width, height, channels);
      write_png(folder / "p.png", picture);
      const Picture read = read_png(folder / "p.png");
      EXPECT_EQ(read.width, width);
      EXPECT_EQ(read.height, height);
      EXPECT_EQ(read.channels, channels);
      EXPECT_EQ(read.pixels, picture.pixels);
    }
  }
  EXPECT_EQ(folder.list(), std::vector<std::string>{"p.png"});
  const Picture grey{2, 1, 1, {10, 200}};
  write_png(folder / "p.png", grey);
  EXPECT_EQ(read_png(folder / "p.png", 3).pixels, (Bytes{10, 10, 10, 200, 200, 200}));
}

TEST(Png, RefusesBrokenFiles) {
  const TempFolder folder;
  const Picture picture = noise(20, 10, 3);
  write_png(folder / "p.png", picture);
  const Bytes bytes = slurp(folder / "p.png");
  for (size_t n = 0; n < bytes.size() - 12; ++n) {  // the last 12 are the empty IEND chunk
    EXPECT_THROW(decode_png(bytes.data(), n, "cut"), IOError) << n;
  }
  int silent = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes flipped = bytes;
    flipped[bit / 8] ^= uint8_t(1u << (bit % 8));
    try {
      // A flipped bit in the name or checksum of a chunk that says nothing of the pixels may go unnoticed.
      silent += decode_png(flipped.data(), flipped.size(), "flipped").pixels != picture.pixels;
    } catch (const IOError&) {
    }
  }
  EXPECT_EQ(silent, 0);
  EXPECT_CONTAINS(message_of<IOError>([&] { read_png(folder / "none"); }), "No such file");
  EXPECT_CONTAINS(message_of<IOError>([&] { decode_png("GIF89a", 6, "a.gif"); }), "a.gif: not a PNG");
  EXPECT_CONTAINS(message_of<IOError>([&] { decode_png(bytes.data(), bytes.size(), "p", 0, 199); }),
                  "20x10 pixels pass");
}

TEST(Png, ClaimsOfSizeAreNotBelieved) {  // a header of 65,535 x 65,535 pixels with a right checksum and no data
  Bytes lie{0x89, 'P', 'N', 'G', 13,  10, 26, 10,  0,   0, 0, 13, 'I', 'H', 'D',
            'R',  0,   0,   255, 255, 0,  0,  255, 255, 8, 2, 0,  0,   0};
  const uLong crc = crc32(0, lie.data() + 12, 17);
  for (int shift = 24; shift >= 0; shift -= 8) lie.push_back(uint8_t(crc >> shift));
  const Bytes tail{0, 0, 0, 0, 'I', 'D', 'A', 'T', 0x35, 0xaf, 0x06, 0x1e};
  lie.insert(lie.end(), tail.begin(), tail.end());
  EXPECT_CONTAINS(message_of<IOError>([&] { decode_png(lie.data(), lie.size(), "lie"); }), "65535x65535 pixels pass");
}

TEST(Png, RefusesWhatIsNoPicture) {
  const TempFolder folder;
  const Bytes pixels(12);
  EXPECT_THROW(write_png(folder / "p", pixels.data(), 2, 3, 2), ValueError);
  EXPECT_THROW(write_png(folder / "p", pixels.data(), 0, 3, 1), ValueError);
  EXPECT_THROW(write_png(folder / "p", pixels.data(), 1 << 20, 3, 1), ValueError);
  EXPECT_THROW(write_png(folder / "p", Picture{2, 2, 1, pixels}), ValueError);
  EXPECT_CONTAINS(message_of<IOError>([&] { write_png(folder / "none/p", pixels.data(), 2, 2, 3); }), "none/p");
  EXPECT_TRUE(folder.list().empty());
}

TEST(Canvas, DrawsAndCutsOff) {
  Canvas canvas(20, 10);
  canvas.fill_rect(-5, -5, 8, 8, {1, 2, 3});
  EXPECT_EQ(canvas.at(2, 2), (Color{1, 2, 3}));
  EXPECT_EQ(canvas.at(3, 2), kWhite);
  canvas.blend(10, 5, kBlack, 0.5);
  EXPECT_NEAR(canvas.at(10, 5).r, 128, 1);
  canvas.line(-1e9, 7.5, 1e9, 7.5, {255, 0, 0}, 1);
  for (int64_t x = 0; x < 20; ++x) EXPECT_EQ(canvas.at(x, 7), (Color{255, 0, 0}));
  canvas.line(std::nan(""), 0, 5, 5, kBlack);
  canvas.line(0, 0, HUGE_VAL, 5, kBlack);
  canvas.text(18, 8, "cut off at the edge");
  canvas.vertical_text(-3, 4, "too");
  EXPECT_THROW(canvas.at(20, 0), IndexError);
  EXPECT_THROW(Canvas(0, 5), ValueError);
  EXPECT_THROW(Canvas(5, 1 << 20), ValueError);
}

TEST(Canvas, EveryCharacterHasItsOwnGlyph) {
  std::set<std::string> glyphs;
  for (char c = 32; c < 127; ++c) {
    Canvas canvas(6, 8);
    canvas.text(0, 0, std::string(1, c));
    glyphs.insert({canvas.pixels().begin(), canvas.pixels().end()});
    bool gap = true;
    for (int64_t y = 0; y < 8; ++y) gap = gap && canvas.at(5, y) == kWhite;
    EXPECT_TRUE(gap) << "glyphs would touch: " << c;
  }
  EXPECT_EQ(glyphs.size(), 95u);
  Canvas a(6, 8), b(6, 8);
  a.text(0, 0, "\x01");
  b.text(0, 0, "?");
  EXPECT_EQ(a.pixels(), b.pixels());
  EXPECT_EQ(Canvas::text_width("abc"), 17);
  EXPECT_EQ(Canvas::text_width("abc", 2), 34);
  EXPECT_EQ(Canvas::text_width(""), 0);
}

TEST(Canvas, VerticalTextIsTextTurned) {
  Canvas flat(20, 20), turned(20, 20);
  flat.text(2, 3, "Ay");
  turned.vertical_text(3, 18, "Ay");
  for (int64_t y = 0; y < 20; ++y) {
    for (int64_t x = 0; x < 18; ++x) EXPECT_EQ(flat.at(x, y), turned.at(y, 19 - x)) << x << " " << y;
  }
}

int64_t count(const Canvas& canvas, Color color) {
  int64_t n = 0;
  for (int64_t y = 0; y < canvas.height(); ++y) {
    for (int64_t x = 0; x < canvas.width(); ++x) n += canvas.at(x, y) == color;
  }
  return n;
}

TEST(Plot, DrawsEverySeries) {
  Plot plot({.title = "loss", .x_label = "epoch", .y_label = "nats"});
  plot.curve("train", {3, 2, 1, 0.5}).line("validation", {1, 2, 3, 4}, {3, 2.5, 2.2, 2.4}, {.dashed = true});
  plot.points("best", {3}, {2.2}).mark("stop", 3.5);
  const Canvas canvas = plot.draw();
  EXPECT_EQ(canvas.width(), 640);
  EXPECT_EQ(canvas.height(), 420);
  for (int64_t i = 0; i < 4; ++i) EXPECT_GT(count(canvas, palette(i)), 20) << i;
  const TempFolder folder;
  plot.save(folder / "loss.png");
  EXPECT_EQ(read_png(folder / "loss.png").pixels, canvas.pixels());
}

TEST(Plot, BearsAnyData) {
  const double nan = std::nan(""), inf = HUGE_VAL;
  const std::vector<std::vector<double>> lists{
      {}, {1}, {nan, nan}, {inf, 1, -inf}, {1, 1, 1}, {1e300, -1e300}, {1e-300, 2e-300}, {0, -1}, {1e9, 1e9 + 1}};
  for (const bool log_y : {false, true}) {
    for (const auto& y : lists) {
      Plot plot({.log_y = log_y});
      plot.curve("y", y).points("", y, y);
      plot.draw();
    }
  }
  Plot plot({.x_min = 0, .x_max = 1, .y_min = 0, .y_max = 1});
  const Canvas empty = Plot({.x_min = 0, .x_max = 1, .y_min = 0, .y_max = 1}).draw();
  const Canvas outside = plot.line("", {-5, -4, 9}, {7, 8, 12}).draw();
  EXPECT_EQ(outside.pixels(), empty.pixels()) << "nothing is drawn outside the axes";
  EXPECT_THROW(plot.line("bad", {1, 2}, {1}), ShapeError);
  EXPECT_THROW(Plot({.width = 10}), ValueError);
}

TEST(Plot, DecisionBoundary) {
  Plot plot({.width = 300, .height = 300, .x_min = -1, .x_max = 1, .y_min = -1, .y_max = 1, .legend = false});
  int64_t calls = 0;
  plot.background([&](double x, double y) {
    ++calls;
    return x > y ? 1.0 : 0.0;
  });
  EXPECT_EQ(calls, plot.area_width() * plot.area_height());
  const Canvas canvas = plot.draw();
  const int64_t orange = count(canvas, diverging_color(1)), blue = count(canvas, diverging_color(0));
  EXPECT_NEAR(double(orange), double(calls) / 2, double(calls) * 0.03);
  EXPECT_NEAR(double(blue), double(calls) / 2, double(calls) * 0.03);
  EXPECT_EQ(canvas.at(64 + plot.area_width() - 4, 32 + plot.area_height() / 2), diverging_color(1)) << "x runs right";
  EXPECT_EQ(canvas.at(64 + plot.area_width() / 2, 32 + 4), diverging_color(0)) << "y runs up";
  EXPECT_THROW(Plot().background([](double, double) { return 0.0; }), ValueError);
}

TEST(Plot, HeatMapAndImageGrid) {
  const Canvas map = heat_map({5, 0, 1, 9}, 2, 2, {.title = "confusion", .row_names = {"cat", "dog"}});
  EXPECT_GT(count(map, sequential_color(1)), 500);
  EXPECT_THROW(heat_map({1, 2, 3}, 2, 2), ShapeError);

  const ImageSet set = make_digits(Split::test, 1, 0, 12);
  const Canvas grid = image_grid(set, {0, 3, 11}, {"is 0", "is 3", "9, not 4"}, {.columns = 2});
  EXPECT_EQ(grid.at(6, 6), kBlack);
  const Canvas bare = image_grid(set, {0, 3, 11}, {});
  EXPECT_GT(grid.height(), bare.height());
  EXPECT_THROW(image_grid(set, {12}, {}), IndexError);
  EXPECT_THROW(image_grid(set, {1}, {"a", "b"}), ShapeError);
  const Canvas both = side_by_side({map, grid});
  EXPECT_EQ(both.width(), map.width() + grid.width());
  EXPECT_EQ(both.at(map.width() + 6, 6), kBlack);
}

}  // namespace
}  // namespace tenrec
