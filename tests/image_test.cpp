// Pictures as tensors: PNG and JPEG files in, PNG files and grids out, scaling, folders of classes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <jpeglib.h>

#include "support/files.h"
#include "tenrec/autograd/ops/creation.h"
#include "tenrec/core/error.h"
#include "tenrec/core/philox.h"
#include "tenrec/data/image.h"
#include "tenrec/data/image_folder.h"
#include "tenrec/data/jpeg.h"
#include "tenrec/data/loader.h"

namespace tenrec {
namespace {

using testing::Bytes;
using testing::message_of;
using testing::slurp;
using testing::spit;
using testing::TempFolder;

// Smooth, so that JPEG's losses are small.
Picture gradient(int64_t width, int64_t height, int64_t channels) {
  Picture picture{width, height, channels, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t value = c == 0 ? 40 + 3 * x : c == 1 ? 200 - 2 * y : 60 + x + y;
        picture.pixels.push_back(uint8_t(std::clamp<int64_t>(value, 0, 255)));
      }
    }
  }
  return picture;
}

struct JpegSettings {
  J_COLOR_SPACE space = JCS_RGB;
  bool progressive = false;
  int quality = 95;
};

// A JPEG made by libjpeg itself.
Bytes jpeg(const Picture& picture, const JpegSettings& settings = {}) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;  // NOLINT(google-runtime-int): libjpeg's type
  jpeg_mem_dest(&info, &out, &size);
  info.image_width = JDIMENSION(picture.width);
  info.image_height = JDIMENSION(picture.height);
  info.input_components = int(picture.channels);
  info.in_color_space = picture.channels == 1 ? JCS_GRAYSCALE : settings.space;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, settings.quality, TRUE);
  if (settings.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (int64_t y = 0; y < picture.height; ++y) {
    auto* row = const_cast<JSAMPROW>(picture.pixels.data() + y * picture.width * picture.channels);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  Bytes bytes(out, out + size);
  jpeg_destroy_compress(&info);
  std::free(out);
  return bytes;
}

int largest_difference(const Bytes& a, const Bytes& b) {
  EXPECT_EQ(a.size(), b.size());
  int most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max(most, std::abs(int(a[i]) - int(b[i])));
  return most;
}

TEST(Jpeg, ReadsGreyAndColour) {
  for (const bool progressive : {false, true}) {
    for (const int64_t channels : {1, 3}) {
      for (const auto& [width, height] : {std::pair<int64_t, int64_t>{1, 1}, {8, 8}, {37, 21}}) {
        const Picture picture = gradient(width, height, channels);
        const Bytes bytes = jpeg(picture, {.progressive = progressive});
        const Picture read = decode_jpeg(bytes.data(), bytes.size(), "j");
        EXPECT_EQ(read.width, width);
        EXPECT_EQ(read.height, height);
        EXPECT_EQ(read.channels, channels);
        EXPECT_LE(largest_difference(read.pixels, picture.pixels), 8);
      }
    }
  }
  const Bytes colour = jpeg(gradient(20, 10, 3)), grey = jpeg(gradient(20, 10, 1));
  const Picture as_grey = decode_jpeg(colour.data(), colour.size(), "j", 1);
  EXPECT_EQ(as_grey.channels, 1);
  EXPECT_EQ(as_grey.pixels.size(), 200u);
  const Picture as_colour = decode_jpeg(grey.data(), grey.size(), "j", 3);
  for (size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(as_colour.pixels[3 * i], as_colour.pixels[3 * i + 1]);
    EXPECT_EQ(as_colour.pixels[3 * i], as_colour.pixels[3 * i + 2]);
  }
}

TEST(Jpeg, RefusesBrokenFiles) {
  const Picture picture = gradient(40, 30, 3);
  for (const bool progressive : {false, true}) {
    const Bytes bytes = jpeg(picture, {.progressive = progressive});
    for (size_t n = 0; n < bytes.size(); ++n) {
      EXPECT_THROW(decode_jpeg(bytes.data(), n, "cut"), IOError) << n;
    }
    // JPEG has no checksum: a changed bit may give another picture, but no crash and no other size without an error.
    int refused = 0;
    for (size_t bit = 0; bit < bytes.size() * 8; bit += 3) {
      Bytes flipped = bytes;
      flipped[bit / 8] ^= uint8_t(1u << (bit % 8));
      try {
        const Picture read = decode_jpeg(flipped.data(), flipped.size(), "flipped", 3, 1 << 20);
        EXPECT_EQ(int64_t(read.pixels.size()), read.width * read.height * 3);
      } catch (const IOError&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 20);
  }
  const Bytes bytes = jpeg(picture);
  EXPECT_CONTAINS(message_of<IOError>([&] { decode_jpeg(bytes.data(), bytes.size(), "big", 0, 1199); }),
                  "big: 40x30 pixels pass the limit of 1199");
  EXPECT_CONTAINS(message_of<IOError>([] { decode_jpeg("GIF89a", 6, "a.gif"); }), "a.gif: not a JPEG");
  EXPECT_THROW(decode_jpeg(bytes.data(), bytes.size(), "j", 2), ValueError);
  const Picture ink{4, 4, 4, Bytes(64, 100)};
  const Bytes cmyk = jpeg(ink, {.space = JCS_CMYK});
  EXPECT_CONTAINS(message_of<IOError>([&] { decode_jpeg(cmyk.data(), cmyk.size(), "ink"); }), "4 colours");
  const TempFolder folder;
  EXPECT_CONTAINS(message_of<IOError>([&] { read_jpeg(folder / "none"); }), "No such file");
}

TEST(Image, ReadsByTheFirstBytes) {
  const TempFolder folder;
  const Picture picture = gradient(6, 4, 3);
  write_png(folder / "a.jpg", picture);  // the name says nothing
  spit(folder / "b.png", jpeg(picture));
  const Tensor png = read_image(folder / "a.jpg"), jpg = read_image(folder / "b.png");
  EXPECT_EQ(png.shape(), Shape({3, 4, 6}));
  EXPECT_EQ(png.dtype(), u8);
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < 4; ++y) {
      for (int64_t x = 0; x < 6; ++x) {
        const int expected = picture.pixels[size_t((y * 6 + x) * 3 + c)];
        EXPECT_EQ(png.item<int>(c, y, x), expected);
        EXPECT_NEAR(jpg.item<int>(c, y, x), expected, 8);
      }
    }
  }
  EXPECT_EQ(read_image(folder / "a.jpg", 1).shape(), Shape({1, 4, 6}));
  spit(folder / "c", {'G', 'I', 'F', '8', '9', 'a'});
  EXPECT_CONTAINS(message_of<IOError>([&] { read_image(folder / "c"); }), "neither a PNG nor a JPEG");
  spit(folder / "c", {});
  EXPECT_THROW(read_image(folder / "c"), IOError);
  EXPECT_THROW(read_image(folder / "none"), IOError);
}

TEST(Image, WritesWhatItReads) {
  const TempFolder folder;
  for (const Shape& shape : {Shape({3, 5, 7}), Shape({1, 5, 7}), Shape({5, 7})}) {
    const Tensor image = empty(shape, {.dtype = u8});
    for (int64_t i = 0; i < image.numel(); ++i) image.data<uint8_t>()[i] = uint8_t(i * 37);
    write_png(folder / "p.png", image);
    EXPECT_EQ(read_image(folder / "p.png").to_vector<uint8_t>(), image.to_vector<uint8_t>());
  }
  const float nan = std::nanf("");
  const Tensor floats = from_vector<float>({-1, 0, 0.5f, 1, 7, nan, 1.0f / 255, 0.999f}, {2, 4});
  const Bytes expected{0, 0, 128, 255, 255, 0, 1, 255};
  for (const DType dtype : {f32, f64}) EXPECT_EQ(to_picture(floats.to(dtype)).pixels, expected);
  const Tensor before = read_image(folder / "p.png");
  EXPECT_THROW(write_png(folder / "p.png", zeros({2, 4, 4})), ShapeError);
  EXPECT_THROW(write_png(folder / "p.png", zeros({4})), ShapeError);
  EXPECT_THROW(write_png(folder / "p.png", zeros({4, 4}, {.dtype = i64})), DTypeError);
  EXPECT_THROW(write_png(folder / "p.png", zeros({1, 0, 4})), ValueError);
  EXPECT_THROW(write_png(folder / "none/p.png", zeros({1, 4, 4})), IOError);
  EXPECT_EQ(folder.list(), std::vector<std::string>{"p.png"});
  EXPECT_EQ(read_image(folder / "p.png").to_vector<uint8_t>(), before.to_vector<uint8_t>()) << "what was there stays";
}

TEST(Image, GridPutsPicturesInRows) {
  const Tensor images = from_vector<float>({0.2f, 0.4f, 0.6f}, {3, 1, 1, 1});
  const Tensor grid = make_grid(images, {.columns = 2, .padding = 1, .fill = 1});
  EXPECT_EQ(grid.shape(), Shape({1, 5, 5}));
  const Bytes expected{255, 255, 255, 255, 255, 255, 51,  255, 102, 255, 255, 255, 255,
                       255, 255, 255, 153, 255, 255, 255, 255, 255, 255, 255, 255};
  EXPECT_EQ(grid.to_vector<uint8_t>(), expected);
  EXPECT_EQ(make_grid(zeros({2, 3, 4, 5}, {.dtype = u8}), {.padding = 0}).shape(), Shape({3, 4, 10}));
  EXPECT_THROW(make_grid(zeros({0, 3, 4, 5})), ValueError);
  EXPECT_THROW(make_grid(zeros({3, 4, 5})), ShapeError);
  EXPECT_THROW(make_grid(images, {.columns = 0}), ValueError);
  EXPECT_THROW(make_grid(images, {.padding = -1}), ValueError);
}

Tensor random_image(int64_t channels, int64_t height, int64_t width) {
  const Tensor image = empty({channels, height, width}, {.dtype = u8});
  for (int64_t i = 0; i < image.numel(); ++i) image.data<uint8_t>()[i] = uint8_t(Philox(3)(1, uint64_t(i)).word[0]);
  return image;
}

// The definition, in two dimensions and double.
double resized_pixel(const Tensor& image, int64_t c, int64_t y, int64_t x, int64_t height, int64_t width) {
  const double sy = double(image.size(1)) / double(height), sx = double(image.size(2)) / double(width);
  double sum = 0, weights = 0;
  for (int64_t i = 0; i < image.size(1); ++i) {
    for (int64_t j = 0; j < image.size(2); ++j) {
      const double dy = std::abs(double(i) + 0.5 - (double(y) + 0.5) * sy) / std::max(sy, 1.0);
      const double dx = std::abs(double(j) + 0.5 - (double(x) + 0.5) * sx) / std::max(sx, 1.0);
      if (dy >= 1 || dx >= 1) continue;
      sum += (1 - dy) * (1 - dx) * image.item<double>(c, i, j);
      weights += (1 - dy) * (1 - dx);
    }
  }
  return sum / weights;
}

TEST(Image, ResizeIsItsDefinition) {
  const Tensor image = random_image(3, 9, 14);
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{9, 14}, {4, 5}, {20, 33}, {3, 40}, {1, 1}, {18, 7}}) {
    const Tensor y = resize_image(image, height, width);
    ASSERT_EQ(y.shape(), Shape({3, height, width}));
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j)
          EXPECT_NEAR(y.item<double>(c, i, j), resized_pixel(image, c, i, j, height, width), 0.501);
      }
    }
  }
  EXPECT_EQ(resize_image(image, 9, 14).to_vector<uint8_t>(), image.to_vector<uint8_t>());
  EXPECT_THROW(resize_image(image, 0, 4), ValueError);
  EXPECT_THROW(resize_image(image.to(f32), 4, 4), DTypeError);
  EXPECT_THROW(resize_image(zeros({4, 4}, {.dtype = u8}), 4, 4), ShapeError);
}

class Folder : public ::testing::Test {
 protected:
  // A picture all of one shade.
  void put(const std::string& name, uint8_t shade, int64_t width = 4, int64_t height = 3) {
    std::filesystem::create_directories(std::filesystem::path(folder_ / name).parent_path());
    write_png(folder_ / name, Picture{width, height, 1, Bytes(size_t(width * height), shade)});
  }
  TempFolder folder_;
};

TEST_F(Folder, ClassesAndPicturesAreSorted) {
  put("dog/10.png", 1);
  put("dog/9.PNG", 2);
  put("cat/deep/er/a.png", 3);
  put("cat/b.png", 4);
  put("Zebra/z.png", 5);
  put(".hidden/x.png", 6);
  put("cat/.b.png", 7);
  put("stray.png", 8);
  spit(folder_ / "cat/notes.txt", {'x'});
  spit(folder_ / "dog/a.jpeg", jpeg(gradient(4, 3, 3)));
  const ImageFolder data(folder_.path());
  EXPECT_EQ(data.classes(), (std::vector<std::string>{"Zebra", "cat", "dog"}));
  ASSERT_EQ(data.size(), 6);
  const std::vector<std::string> names{"Zebra/z.png", "cat/b.png", "cat/deep/er/a.png",
                                       "dog/10.png",  "dog/9.PNG", "dog/a.jpeg"};
  const std::vector<int64_t> labels{0, 1, 1, 2, 2, 2};
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(data.path(i), folder_ / names[size_t(i)]);
    EXPECT_EQ(data.label(i), labels[size_t(i)]);
    EXPECT_EQ(data.get(i).target().item<int64_t>(), labels[size_t(i)]);
    EXPECT_EQ(data.get(i).input().shape(), Shape({3, 3, 4}));
  }
  EXPECT_EQ(data.get(2).input().item<int>(1, 2, 2), 3);
  EXPECT_EQ(ImageFolder(folder_.path(), {.channels = 1}).get(0).input().shape(), Shape({1, 3, 4}));
  EXPECT_THROW(data.get(6), IndexError);
  EXPECT_THROW(data.path(-1), IndexError);

  for (const int workers : {0, 3}) {
    DataLoader loader(data, {.batch_size = 4, .workers = workers});
    EXPECT_EQ(loader.next()->input().shape(), Shape({4, 3, 3, 4}));
    EXPECT_EQ(loader.next()->target().to_vector<int64_t>(), (std::vector<int64_t>{2, 2}));
  }
}

TEST_F(Folder, BringsPicturesToOneSize) {
  put("a/wide.png", 10, 40, 10);
  put("a/high.png", 20, 10, 40);
  put("a/thin.png", 30, 300, 1);
  // Left third black, middle white, right third black: what is cut out of the middle is white.
  Picture stripes{30, 10, 1, {}};
  for (int64_t i = 0; i < 300; ++i) stripes.pixels.push_back(i % 30 >= 10 && i % 30 < 20 ? 255 : 0);
  write_png(folder_ / "a/stripes.png", stripes);
  const ImageFolder data(folder_.path(), {.height = 6, .width = 6});
  for (int64_t i = 0; i < data.size(); ++i) {
    const Tensor image = data.get(i).input();
    ASSERT_EQ(image.shape(), Shape({3, 6, 6}));
    const auto shade = image.item<int>(0, 0, 0);
    for (const uint8_t pixel : image.to_vector<uint8_t>()) EXPECT_EQ(int(pixel), shade) << data.path(i);
    EXPECT_EQ(shade, std::vector<int>({20, 255, 30, 10})[size_t(i)]);
  }
  const Tensor flat = ImageFolder(folder_.path(), {.height = 3, .width = 12}).get(0).input();
  EXPECT_EQ(flat.shape(), Shape({3, 3, 12}));
  const ImageFolder as_they_are(folder_.path());
  EXPECT_THROW(as_they_are.get_batch(std::vector<int64_t>{0, 1}), ShapeError);
  EXPECT_THROW(ImageFolder(folder_.path(), {.height = 6}), ValueError);
  EXPECT_THROW(ImageFolder(folder_.path(), {.channels = 4}), ValueError);
}

TEST_F(Folder, SaysWhatIsWrong) {
  EXPECT_CONTAINS(message_of<IOError>([&] { ImageFolder data(folder_ / "none"); }), "is not a folder");
  EXPECT_CONTAINS(message_of<IOError>([&] { ImageFolder data(folder_.path()); }), "no classes");
  put("a/x.png", 1);
  std::filesystem::create_directories(folder_ / "b");
  EXPECT_CONTAINS(message_of<IOError>([&] { ImageFolder data(folder_.path()); }), "b: a class without");
  put("b/y.png", 1);
  const Bytes bytes = slurp(folder_ / "b/y.png");
  spit(folder_ / "b/y.png", {bytes.begin(), bytes.begin() + 50});
  const ImageFolder data(folder_.path());
  EXPECT_EQ(data.get(0).target().item<int64_t>(), 0);
  EXPECT_CONTAINS(message_of<IOError>([&] { data.get(1); }), folder_ / "b/y.png");
  std::filesystem::create_directory_symlink(folder_.path(), folder_ / "a/round");  // leads back up
  EXPECT_EQ(ImageFolder(folder_.path()).size(), 2);
}

}  // namespace
}  // namespace tenrec
