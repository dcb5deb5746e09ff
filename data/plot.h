// Pictures of results: curves with axes and a legend, decision boundaries, confusion matrices, grids of samples.
//
//   Plot plot({.title = "loss", .x_label = "epoch"});
//   plot.line("train", epochs, train_loss).line("validation", epochs, validation_loss);
//   plot.save("loss.png");
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tenrec/core/parallel.h"  // FunctionRef
#include "tenrec/data/canvas.h"
#include "tenrec/data/images.h"

namespace tenrec {

inline constexpr double kAutomatic = std::numeric_limits<double>::quiet_NaN();

struct PlotOptions {
  int64_t width = 640, height = 420;
  std::string title = {}, x_label = {}, y_label = {};
  // Ends of the axes; kAutomatic: from the data.
  double x_min = kAutomatic, x_max = kAutomatic, y_min = kAutomatic, y_max = kAutomatic;
  bool log_y = false;  // values that are not positive are left out
  bool legend = true;
};

struct SeriesStyle {
  int64_t color = -1;  // of palette(); -1: the next one
  double width = 2;    // of the line, or the diameter of a point
  bool dashed = false;
};

class Plot {
 public:
  explicit Plot(PlotOptions options = {});

  // A curve through (x[i], y[i]); a value that is not finite leaves a gap. Throws ShapeError if the lengths differ.
  Plot& line(const std::string& name, const std::vector<double>& x, const std::vector<double>& y,
             SeriesStyle style = {});
  // The same over 1, 2, 3, ...
  Plot& curve(const std::string& name, const std::vector<double>& y, SeriesStyle style = {});
  // Points. An empty name keeps a series out of the legend.
  Plot& points(const std::string& name, const std::vector<double>& x, const std::vector<double>& y,
               SeriesStyle style = {.width = 9});
  // A vertical mark across the plot, such as the epoch at which training stopped.
  Plot& mark(const std::string& name, double x, SeriesStyle style = {.width = 1, .dashed = true});
  // Colours the plane by f(x, y) in [0, 1] (diverging_color; 0.5 is white). Needs the four ends of the axes in the
  // options. f is called once per pixel of the plot's area, row by row, and not kept.
  Plot& background(FunctionRef<double(double, double)> f);

  Canvas draw() const;
  void save(const std::string& path) const { draw().save(path); }

  // The plot's area in pixels: columns and rows that background() asks for.
  int64_t area_width() const;
  int64_t area_height() const;

 private:
  struct Series {
    std::string name;
    std::vector<double> x, y;
    SeriesStyle style;
    enum { curve, cloud, vertical } kind;
  };
  struct Frame;

  void add(Series series);
  Frame frame() const;
  void draw_axes(Canvas& canvas, const Frame& frame) const;
  void draw_series(Canvas& canvas, const Frame& frame, const Series& series) const;
  void draw_legend(Canvas& canvas, const Frame& frame) const;

  PlotOptions options_;
  std::vector<Series> series_;
  std::vector<double> background_;  // [area_height, area_width]
};

struct HeatMapOptions {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<std::string> row_names = {}, column_names = {};
  bool show_values = true;
  int64_t cell = 36;  // side of a cell in pixels
};

// A matrix [rows, columns] of non-negative numbers as coloured cells, darkest at the row's largest share of its sum.
Canvas heat_map(const std::vector<double>& values, int64_t rows, int64_t columns, const HeatMapOptions& options = {});

struct ImageGridOptions {
  std::string title = {};
  int64_t columns = 10;
  int64_t scale = 2;
};

// The pictures images[indices[i]] in rows, with captions[i] (may be empty) under each.
Canvas image_grid(const ImageSet& images, const std::vector<int64_t>& indices, const std::vector<std::string>& captions,
                  const ImageGridOptions& options = {});

}  // namespace tenrec
