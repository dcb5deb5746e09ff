#include "tenrec/data/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "tenrec/core/error.h"

namespace tenrec {
namespace {

constexpr int64_t kLeft = 64, kRight = 16, kTop = 32, kBottom = 48;
constexpr int64_t kMinSide = 160;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value == 0 ? 0.0 : value);
  return text;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void include(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Fills what the caller fixed, widens what is empty or a single point.
  void settle(double fixed_low, double fixed_high, double margin) {
    if (!(low <= high)) low = 0, high = 1;
    const double room = high > low ? (high - low) * margin : std::max(std::abs(high), 1.0) * 0.1;
    low = std::isnan(fixed_low) ? low - room : fixed_low;
    high = std::isnan(fixed_high) ? high + room : fixed_high;
    if (!(low < high)) high = low + 1;
  }
};

// Multiples of 1, 2 or 5 times a power of ten, about `wanted` of them.
std::vector<double> ticks(double low, double high, int wanted) {
  const double raw = (high - low) / wanted, power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power * 10;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (raw <= factor * power) step = factor * power;
  }
  std::vector<double> out;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && out.size() < 50; ++i) {
    out.push_back(i * step);
  }
  return out;
}

// A place in the picture as a whole pixel; what is far outside or no number at all stays outside.
int64_t whole_pixel(double place) { return std::isnan(place) ? -1 : int64_t(std::clamp(place, -1.0, 1e6)); }

void centred_text(Canvas& canvas, int64_t x, int64_t y, const std::string& text, int64_t scale = 1,
                  Color color = kBlack) {
  canvas.text(x - Canvas::text_width(text, scale) / 2, y, text, color, scale);
}

}  // namespace

// The rectangle in pixels and the numbers at its edges (logarithms on a log axis).
struct Plot::Frame {
  int64_t left, top, width, height;
  Range x, y;
  bool log_y;
  double column(double value) const { return double(left) + (value - x.low) / (x.high - x.low) * double(width); }
  double row(double value) const {
    const double v = log_y ? (value > 0 ? std::log10(value) : std::nan("")) : value;
    return double(top + height) - (v - y.low) / (y.high - y.low) * double(height);
  }
};

Plot::Plot(PlotOptions options) : options_(std::move(options)) {
  if (options_.width < kMinSide || options_.height < kMinSide) {
    fail<ValueError>("Plot: ", options_.width, "x", options_.height, " pixels, each side must be at least ", kMinSide);
  }
}

int64_t Plot::area_width() const { return options_.width - kLeft - kRight; }
int64_t Plot::area_height() const { return options_.height - kTop - kBottom; }

void Plot::add(Series series) {
  if (series.x.size() != series.y.size()) {
    fail<ShapeError>("Plot: series \"", series.name, "\" has ", series.x.size(), " x and ", series.y.size(), " y");
  }
  if (series.style.color < 0) series.style.color = int64_t(series_.size());
  series_.push_back(std::move(series));
}

Plot& Plot::line(const std::string& name, const std::vector<double>& x, const std::vector<double>& y,
                 SeriesStyle style) {
  add({name, x, y, style, Series::curve});
  return *this;
}

Plot& Plot::curve(const std::string& name, const std::vector<double>& y, SeriesStyle style) {
  std::vector<double> x(y.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = double(i + 1);
  return line(name, x, y, style);
}

Plot& Plot::points(const std::string& name, const std::vector<double>& x, const std::vector<double>& y,
                   SeriesStyle style) {
  add({name, x, y, style, Series::cloud});
  return *this;
}

Plot& Plot::mark(const std::string& name, double x, SeriesStyle style) {
  add({name, {x}, {kAutomatic}, style, Series::vertical});
  return *this;
}

Plot& Plot::background(FunctionRef<double(double, double)> f) {
  const PlotOptions& o = options_;
  if (std::isnan(o.x_min) || std::isnan(o.x_max) || std::isnan(o.y_min) || std::isnan(o.y_max)) {
    fail<ValueError>("Plot: background() needs x_min, x_max, y_min and y_max");
  }
  const int64_t width = area_width(), height = area_height();
  background_.resize(size_t(width * height));
  for (int64_t row = 0; row < height; ++row) {
    const double y = o.y_max + (o.y_min - o.y_max) * (double(row) + 0.5) / double(height);
    for (int64_t column = 0; column < width; ++column) {
      const double x = o.x_min + (o.x_max - o.x_min) * (double(column) + 0.5) / double(width);
      background_[size_t(row * width + column)] = f(x, y);
    }
  }
  return *this;
}

Plot::Frame Plot::frame() const {
  Frame frame{kLeft, kTop, area_width(), area_height(), {}, {}, options_.log_y};
  for (const Series& series : series_) {
    for (size_t i = 0; i < series.x.size(); ++i) {
      frame.x.include(series.x[i]);
      if (!options_.log_y)
        frame.y.include(series.y[i]);
      else if (series.y[i] > 0)
        frame.y.include(std::log10(series.y[i]));
    }
  }
  const auto end = [&](double value) { return options_.log_y && !std::isnan(value) ? std::log10(value) : value; };
  frame.x.settle(options_.x_min, options_.x_max, 0.0);
  frame.y.settle(end(options_.y_min), end(options_.y_max), 0.05);
  return frame;
}

void Plot::draw_axes(Canvas& canvas, const Frame& frame) const {
  const int64_t right = frame.left + frame.width, bottom = frame.top + frame.height;
  const bool grid = background_.empty();
  for (const double tick : ticks(frame.x.low, frame.x.high, 8)) {
    const int64_t x = whole_pixel(frame.column(tick));
    if (grid) canvas.fill_rect(x, frame.top, 1, frame.height, kLightGrey);
    canvas.fill_rect(x, bottom, 1, 4, kBlack);
    centred_text(canvas, x, bottom + 8, number(tick));
  }
  // A log axis of less than a decade would get no whole powers of ten, so its ticks are spaced in logarithms.
  for (const double tick : ticks(frame.y.low, frame.y.high, 6)) {
    const double value = frame.log_y ? std::pow(10.0, tick) : tick;
    if (!(value > 0 || !frame.log_y) || !std::isfinite(value)) continue;
    const int64_t y = whole_pixel(frame.row(value));
    if (grid) canvas.fill_rect(frame.left, y, frame.width, 1, kLightGrey);
    canvas.fill_rect(frame.left - 4, y, 4, 1, kBlack);
    const std::string label = number(value);
    canvas.text(frame.left - 8 - Canvas::text_width(label), y - 3, label);
  }
  canvas.rect(frame.left, frame.top, frame.width + 1, frame.height + 1, kBlack);
  centred_text(canvas, (frame.left + right) / 2, 9, options_.title, 2);
  centred_text(canvas, (frame.left + right) / 2, bottom + 26, options_.x_label);
  canvas.vertical_text(6, (frame.top + bottom + Canvas::text_width(options_.y_label)) / 2, options_.y_label);
}

void Plot::draw_series(Canvas& canvas, const Frame& frame, const Series& series) const {
  const Color color = palette(series.style.color);
  if (series.kind == Series::vertical) {
    const double x = std::floor(frame.column(series.x[0])) + 0.5;  // the middle of a pixel
    for (int64_t y = 0; y < frame.height; y += 8) {
      canvas.line(x, double(frame.top + y), x, double(frame.top + y + (series.style.dashed ? 4 : 8)), color,
                  series.style.width);
    }
    return;
  }
  for (size_t i = 0; i < series.x.size(); ++i) {
    const double x = frame.column(series.x[i]), y = frame.row(series.y[i]);
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    if (series.kind == Series::cloud) {
      canvas.disc(x, y, series.style.width / 2 + 1, kWhite);
      canvas.disc(x, y, series.style.width / 2, color);
      continue;
    }
    if (i == 0) continue;
    const double x0 = frame.column(series.x[i - 1]), y0 = frame.row(series.y[i - 1]);
    if (!std::isfinite(x0) || !std::isfinite(y0)) continue;
    const double length = std::hypot(x - x0, y - y0);
    const int64_t pieces = series.style.dashed ? std::clamp<int64_t>(int64_t(length / 4), 1, 4096) : 1;
    for (int64_t p = 0; p < pieces; p += 2) {
      const double a = double(p) / double(pieces), b = double(p + 1) / double(pieces);
      canvas.line(x0 + a * (x - x0), y0 + a * (y - y0), x0 + b * (x - x0), y0 + b * (y - y0), color,
                  series.style.width);
    }
  }
}

void Plot::draw_legend(Canvas& canvas, const Frame& frame) const {
  int64_t width = 0, rows = 0;
  for (const Series& series : series_) {
    if (series.name.empty()) continue;
    width = std::max(width, Canvas::text_width(series.name));
    ++rows;
  }
  if (rows == 0 || !options_.legend) return;
  const int64_t x = frame.left + frame.width - width - 46, top = frame.top + 8;
  canvas.fill_rect(x, top, width + 38, rows * 14 + 8, kWhite);
  canvas.rect(x, top, width + 38, rows * 14 + 8, kLightGrey);
  int64_t y = top + 8;
  for (const Series& series : series_) {
    if (series.name.empty()) continue;
    const Color color = palette(series.style.color);
    if (series.kind == Series::cloud)
      canvas.disc(double(x + 16), double(y) + 3.5, 4, color);
    else
      canvas.line(double(x + 6), double(y) + 3.5, double(x + 26), double(y) + 3.5, color, series.style.width);
    canvas.text(x + 32, y, series.name);
    y += 14;
  }
}

Canvas Plot::draw() const {
  const Frame frame = this->frame();
  Canvas canvas(options_.width, options_.height);
  for (size_t i = 0; i < background_.size(); ++i) {
    canvas.set(frame.left + int64_t(i) % frame.width, frame.top + int64_t(i) / frame.width,
               diverging_color(background_[i]));
  }
  draw_axes(canvas, frame);
  // What lies beyond the fixed end of an axis is drawn on a copy of which only the plot's area is used.
  Canvas inside = canvas;
  for (const Series& series : series_) draw_series(inside, frame, series);
  for (int64_t y = frame.top; y <= frame.top + frame.height; ++y) {
    for (int64_t x = frame.left; x <= frame.left + frame.width; ++x) canvas.set(x, y, inside.at(x, y));
  }
  draw_legend(canvas, frame);
  return canvas;
}

Canvas heat_map(const std::vector<double>& values, int64_t rows, int64_t columns, const HeatMapOptions& options) {
  if (rows < 1 || columns < 1 || int64_t(values.size()) != rows * columns) {
    fail<ShapeError>("heat_map: ", values.size(), " values for ", rows, "x", columns);
  }
  const auto name_of = [](const std::vector<std::string>& names, int64_t i) {
    return size_t(i) < names.size() ? names[size_t(i)] : std::to_string(i);
  };
  int64_t label_width = 0;
  for (int64_t i = 0; i < rows; ++i)
    label_width = std::max(label_width, Canvas::text_width(name_of(options.row_names, i)));
  const int64_t cell = std::max<int64_t>(options.cell, 4), left = label_width + 28, top = 44;
  Canvas canvas(left + columns * cell + 12, top + rows * cell + 28);
  for (int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < columns; ++j) sum += values[size_t(i * columns + j)];
    for (int64_t j = 0; j < columns; ++j) {
      const double value = values[size_t(i * columns + j)], share = sum > 0 ? value / sum : 0;
      canvas.fill_rect(left + j * cell, top + i * cell, cell - 1, cell - 1, sequential_color(std::sqrt(share)));
      if (!options.show_values) continue;
      centred_text(canvas, left + j * cell + cell / 2, top + i * cell + cell / 2 - 3, number(value), 1,
                   share > 0.25 ? kWhite : kBlack);
    }
    const std::string label = name_of(options.row_names, i);
    canvas.text(left - 6 - Canvas::text_width(label), top + i * cell + cell / 2 - 3, label);
  }
  for (int64_t j = 0; j < columns; ++j) {
    // As many characters as fit over a cell.
    const std::string label = name_of(options.column_names, j).substr(0, size_t(std::max<int64_t>(cell / 6, 1)));
    centred_text(canvas, left + j * cell + cell / 2, top - 12, label);
  }
  centred_text(canvas, left + columns * cell / 2, 8, options.title, 2);
  centred_text(canvas, left + columns * cell / 2, top + rows * cell + 10, options.x_label);
  canvas.vertical_text(6, top + (rows * cell + Canvas::text_width(options.y_label)) / 2, options.y_label);
  return canvas;
}

Canvas image_grid(const ImageSet& images, const std::vector<int64_t>& indices, const std::vector<std::string>& captions,
                  const ImageGridOptions& options) {
  if (!captions.empty() && captions.size() != indices.size()) {
    fail<ShapeError>("image_grid: ", captions.size(), " captions for ", indices.size(), " pictures");
  }
  const int64_t count = int64_t(indices.size());
  const int64_t columns = std::clamp<int64_t>(options.columns, 1, std::max<int64_t>(count, 1));
  const int64_t rows = std::max<int64_t>((count + columns - 1) / columns, 1),
                scale = std::max<int64_t>(options.scale, 1);
  int64_t cell_width = images.width * scale;
  for (const std::string& caption : captions) cell_width = std::max(cell_width, Canvas::text_width(caption));
  cell_width += 6;
  const int64_t cell_height = images.height * scale + (captions.empty() ? 6 : 18), top = options.title.empty() ? 6 : 30;
  Canvas canvas(std::max(columns * cell_width + 6, Canvas::text_width(options.title, 2) + 12),
                top + rows * cell_height + 2);
  canvas.text(6, 8, options.title, kBlack, 2);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = indices[size_t(i)];
    if (index < 0 || index >= images.size()) {
      fail<IndexError>("image_grid: picture ", index, " of ", images.size());
    }
    const int64_t x = 6 + i % columns * cell_width, y = top + i / columns * cell_height;
    canvas.image(x, y, images.image(index), images.channels, images.height, images.width, scale);
    if (!captions.empty()) canvas.text(x, y + images.height * scale + 4, captions[size_t(i)]);
  }
  return canvas;
}

}  // namespace tenrec
