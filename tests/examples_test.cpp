// Every example program, shortened; those of texts are in text_examples_test.cpp.
#include "support/examples.h"

namespace tenrec::testing {
namespace {

TEST_F(Examples, TensorTour) {
  const Outcome outcome = succeed(folder_, "tensor_tour", {});
  const json report = outcome.result();
  EXPECT_EQ(report.value("example", ""), "tensor_tour");
  EXPECT_EQ(report.value("live_tensors", -1), 0);
  EXPECT_CONTAINS(outcome.out, "matmul: ");  // the errors that it shows
  EXPECT_EQ(succeed(folder_, "tensor_tour", {}).out, outcome.out);
  EXPECT_NE(succeed(folder_, "tensor_tour", {"--seed", "2"}).out, outcome.out);
}

TEST_F(Examples, Xor) {
  const Outcome outcome = succeed(folder_, "xor", {"--picture", "xor.png"});
  const json report = outcome.result();
  expect_report(report, "xor", report.value("data", "none"));
  EXPECT_EQ(report.value("test_accuracy", 0.0), 100);
  EXPECT_LT(report.value("train_loss", 1.0), 0.05);
  expect_picture(folder_ / "xor.png");
  EXPECT_GT(outcome.lines().size(), 1u);
  const Outcome whole = succeed(folder_, "xor", {"--quiet"});
  EXPECT_EQ(whole.lines().size(), 1u);
  succeed(folder_, "xor", {"--quiet", "--steps", "700", "--save", "xor.state"});
  EXPECT_EQ(succeed(folder_, "xor", {"--quiet", "--resume", "xor.state"}).sha(), whole.sha());
  expect_one_line_error(folder_, "xor", {"--batch-size", "3"}, {"--batch-size", "means nothing"});
}

TEST_F(Examples, Overfit) {
  const json report = succeed(folder_, "overfit", {"--epochs", "5", "--picture", "curves.png"}).result();
  expect_report(report, "overfit", "digits");
  EXPECT_EQ(report.value("runs", json::array()).size(), 4u);
  expect_picture(folder_ / "curves.png");
}

TEST_F(Examples, MnistOnDigits) {
  for (const char* model : {"mlp", "lenet", "cnn"}) {
    const bool pictured = std::string(model) == "mlp";
    Arguments arguments{"--model", model, "--batch-size", "64", "--train-size", "640", "--epochs", "1"};
    if (pictured) arguments.insert(arguments.end(), {"--picture", "wrong.png"});
    const Outcome outcome = succeed(folder_, "mnist", arguments);
    const json report = outcome.result();
    expect_report(report, "mnist", "digits");
    EXPECT_EQ(report.value("model", ""), model);
    EXPECT_EQ(report.value("epochs", 0), 1);
    EXPECT_EQ(report.value("steps", 0), 10);
    EXPECT_GT(report.value("test_accuracy", 0.0), 20) << model << " learned nothing";
    EXPECT_LT(report.value("train_loss", 9.0), 2.4);
    EXPECT_CONTAINS(outcome.out, "epoch 1/1");  // a line an epoch in a pipe, and no bar
    EXPECT_EQ(outcome.out.find('\r'), std::string::npos);
    if (pictured) expect_picture(folder_ / "wrong.png");
  }
}

TEST_F(Examples, Cifar10) {
  const Outcome outcome = succeed(folder_, "cifar10",
                                  {"--train-size", "12800", "--epochs", "1", "--batch-size", "64", "--lr", "0.1",
                                   "--width", "8", "--test-size", "500", "--picture", "wrong.png"});
  const json report = outcome.result();
  expect_report(report, "cifar10", "shapes");
  EXPECT_EQ(report.value("model", ""), "small");
  EXPECT_GT(report.value("test_accuracy", 0.0), 20) << "it learned nothing";
  expect_picture(folder_ / "wrong.png");
  write_tiny_cifar(folder_ / "data");
  const auto with = [&](Arguments more) {
    more.insert(more.begin(),
                {"--data", folder_ / "data", "--batch-size", "32", "--quiet", "--epochs", "2", "--cutout", "8"});
    return succeed(folder_, "cifar10", more).result();
  };
  // Augmentation and running statistics are part of what a resumed run goes on with, and threads change nothing.
  const json whole = with({});
  expect_report(whole, "cifar10", "cifar10");
  EXPECT_EQ(whole.value("steps", 0), 20);
  with({"--steps", "7", "--save", "half", "--threads", "1"});
  const json end = with({"--resume", "half", "--threads", "3"});
  EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]);
  EXPECT_EQ(end["test_accuracy"], whole["test_accuracy"]);
  EXPECT_EQ(with({"--model", "resnet9", "--steps", "1"}).value("model", ""), "resnet9");
  const std::string batch = folder_ / "data/data_batch_3.bin";
  const Bytes bytes = slurp(batch);
  spit(batch, Bytes(bytes.begin(), bytes.end() - 1));
  expect_one_line_error(folder_, "cifar10", {"--data", folder_ / "data"}, {batch, "CIFAR record"});
  std::filesystem::remove(batch);
  expect_one_line_error(folder_, "cifar10", {"--data", folder_ / "data"}, {batch, "does not exist"});
  expect_one_line_error(folder_, "cifar10", {"--data", folder_ / "no"}, {"CIFAR-10", "not a folder"});
}

TEST_F(Examples, Localize) {
  const Outcome outcome = succeed(
      folder_, "localize", {"--train-size", "1280", "--epochs", "1", "--test-size", "500", "--picture", "boxes.png"});
  const json report = outcome.result();
  expect_report(report, "localize", "digits");
  EXPECT_GT(report.value("mean_iou", 0.0), 0.2) << "it learned nothing";
  EXPECT_LE(report.value("mean_iou", 9.0), 1);
  EXPECT_CONTAINS(outcome.out, "test IoU ");
  expect_picture(folder_ / "boxes.png");
  write_tiny_mnist(data_);
  const auto steps = [&](Arguments more) {
    more.insert(more.begin(), {"--data", data_, "--quiet", "--epochs", "2"});
    return succeed(folder_, "localize", more).result();
  };
  const json whole = steps({});
  expect_report(whole, "localize", "mnist");
  steps({"--steps", "3", "--save", "half", "--threads", "1"});
  EXPECT_EQ(steps({"--resume", "half", "--threads", "3"})["weights_sha256"], whole["weights_sha256"]);
}

TEST_F(Examples, Forecast) {
  const json report = succeed(folder_, "forecast", {"--steps", "150", "--picture", "series.png"}).result();
  expect_run(report, "forecast", "procedural", "rmse");
  expect_picture(folder_ / "series.png");
  EXPECT_LT(report.value("rmse", 1e9), report.value("rmse_seasonal_naive", 0.0));
  std::string csv = "\"Month\",\"Passengers\"\r\n";
  for (int month = 0; month < 96; ++month)
    csv += "\"m\"," + std::to_string(100 + month + 20 * (month % 12 == 6)) + "\r\n";
  spit(folder_ / "rows.csv", Bytes(csv.begin(), csv.end()));
  const json rows = succeed(folder_, "forecast", {"--data", folder_ / "rows.csv", "--steps", "5"}).result();
  EXPECT_DOUBLE_EQ(rows.value("rmse_seasonal_naive", 0.0), 12);  // a year is 12 more
  csv += "\"m\",none\r\n";
  spit(folder_ / "rows.csv", Bytes(csv.begin(), csv.end()));
  expect_one_line_error(folder_, "forecast", {"--data", folder_ / "rows.csv"}, {"line 98", "none"});
  spit(folder_ / "rows.csv", Bytes(csv.begin(), csv.begin() + 200));
  expect_one_line_error(folder_, "forecast", {"--data", folder_ / "rows.csv"}, {"rows.csv"});
}

TEST_F(Examples, Autoencoder) {
  const auto report = [&](Arguments more, const char* epochs = "2") {
    more.insert(more.end(), {"--train-size", "1280", "--epochs", epochs});
    const json result = succeed(folder_, "autoencoder", more).result();
    expect_run(result, "autoencoder", "digits", "test_loss");
    return result;
  };
  const json dense = report({"--picture", "pairs.png"});
  expect_picture(folder_ / "pairs.png");
  EXPECT_LT(dense.value("test_loss", 1.0), 0.09);  // black for all pixels is off by 0.1
  EXPECT_EQ(report({"--threads", "3"})["weights_sha256"], dense["weights_sha256"]);
  const json sparse = report({"--sparse", "0.1"});
  EXPECT_LT(sparse.value("active", 1.0), 0.7 * dense.value("active", 0.0));
  const json conv = report({"--model", "conv", "--noise", "0.5"}, "8");
  EXPECT_EQ(conv.value("model", ""), "conv");
  EXPECT_LT(conv.value("test_loss", 1.0), 0.09);
  expect_one_line_error(folder_, "autoencoder", {"--data", folder_ / "nowhere"}, {folder_ / "nowhere"});
}

TEST_F(Examples, Vae) {
  const auto with = [&](Arguments more) {
    more.insert(more.end(), {"--train-size", "1280", "--hidden", "64", "--latent", "8", "--epochs", "6", "--quiet"});
    return succeed(folder_, "vae", more);
  };
  const json whole = with({"--picture", "pairs.png", "--samples", "samples.png", "--walk", "walk.png"}).result();
  expect_run(whole, "vae", "digits", "test_loss");
  for (const char* name : {"pairs.png", "samples.png", "walk.png"}) expect_picture(folder_ / name);
  EXPECT_LT(whole.value("test_loss", 999.0), 300);
  EXPECT_GT(whole.value("test_kl", 0.0), 0.1);
  // The noise of the latent vectors is part of what is saved.
  with({"--steps", "7", "--save", "half"});
  const json end = with({"--resume", "half", "--threads", "3"}).result();
  EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]);
  EXPECT_EQ(end["test_loss"], whole["test_loss"]);
  expect_one_line_error(folder_, "vae", {"--picture", folder_ / "no/such.png"}, {folder_ / "no/such.png"});
}

TEST_F(Examples, Vanishing) {
  const json report =
      succeed(folder_, "vanishing", {"--steps", "20", "--hidden", "32", "--picture", "gradients.png"}).result();
  expect_run(report, "vanishing", "adding problem", "test_loss");
  expect_picture(folder_ / "gradients.png");
  EXPECT_LT(report.value("rnn_gradient_ratio", 1.0), 1e-6);  // the plain network's is gone
  for (const char* cell : {"lstm", "gru"}) EXPECT_GT(report.value(concat(cell, "_gradient_ratio"), 0.0), 1e-3);
}

TEST_F(Examples, SameSeedSameWeightsAnotherSeedOthers) {
  const std::string first = succeed(folder_, "mnist", tiny({"--epochs", "2"})).sha();
  EXPECT_EQ(succeed(folder_, "mnist", tiny({"--epochs", "2"})).sha(), first);
  EXPECT_NE(succeed(folder_, "mnist", tiny({"--epochs", "2", "--seed", "2"})).sha(), first);
}

TEST_F(Examples, WeightsDoNotDependOnTheThreads) {
  for (const char* model : {"mlp", "lenet", "cnn"}) {
    std::set<std::string> seen;
    for (const char* threads : {"1", "2", "3", "4", "8"}) {
      const json report = succeed(folder_, "mnist", tiny({"--steps", "4", "--threads", threads}, model)).result();
      EXPECT_EQ(report.value("threads", 0), std::stoi(threads));
      seen.insert(report.value("weights_sha256", std::string("none")));
    }
    EXPECT_EQ(seen.size(), 1u) << model;
  }
}

TEST_F(Examples, ResumedRunEndsAsAnUninterruptedOne) {
  for (const char* model : {"mlp", "cnn"}) {  // the cnn draws dropout masks
    const json whole = succeed(folder_, "mnist", tiny({"--epochs", "3"}, model)).result();
    EXPECT_EQ(whole.value("steps", 0), 15);
    const std::string state = std::string(model) + ".state";
    // In the middle of the first epoch, at the end of the second.
    const json early =
        succeed(folder_, "mnist", tiny({"--epochs", "3", "--steps", "3", "--save", state}, model)).result();
    EXPECT_EQ(early.value("steps", 0), 3);
    EXPECT_NE(early["weights_sha256"], whole["weights_sha256"]);
    succeed(folder_, "mnist", tiny({"--epochs", "3", "--steps", "10", "--resume", state, "--save", state}, model));
    const json end = succeed(folder_, "mnist", tiny({"--epochs", "3", "--resume", state}, model)).result();
    EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]) << model;
    EXPECT_EQ(end["train_loss"], whole["train_loss"]) << model;
    EXPECT_EQ(end["test_accuracy"], whole["test_accuracy"]) << model;
    EXPECT_EQ(end["steps"], whole["steps"]);
  }
}

TEST_F(Examples, MixedPrecision) {
  const json single = succeed(folder_, "mnist", tiny({"--epochs", "3"}, "lenet")).result();
  EXPECT_EQ(single.value("dtype", ""), "f32");
  for (const char* dtype : {"bf16", "f16"}) {
    SCOPED_TRACE(dtype);
    const auto run_with = [&](Arguments more) {
      more.insert(more.end(), {"--epochs", "3", "--dtype", dtype});
      return succeed(folder_, "mnist", tiny(more, "lenet")).result();
    };
    const json whole = run_with({});
    expect_report(whole, "mnist", "mnist");
    EXPECT_EQ(whole.value("dtype", ""), dtype);
    EXPECT_NE(whole["weights_sha256"], single["weights_sha256"]);
    EXPECT_NEAR(whole.value("train_loss", 9.0), single.value("train_loss", 0.0), 0.1);
    // The state has the loss scale of f16, which sinks in the first steps.
    const std::string state = concat(dtype, ".state");
    run_with({"--steps", "7", "--save", state});
    const json end = run_with({"--resume", state, "--threads", "3"});
    EXPECT_EQ(end["weights_sha256"], whole["weights_sha256"]);
    EXPECT_EQ(end["train_loss"], whole["train_loss"]);
    EXPECT_EQ(end["test_accuracy"], whole["test_accuracy"]);
    expect_one_line_error(folder_, "mnist", tiny({"--resume", state}, "lenet"), {state, concat("mnist lenet ", dtype)});
  }
  for (const char* name : {"xor", "overfit"})
    expect_one_line_error(folder_, name, {"--dtype", "bf16"}, {"--dtype", "means nothing"});
}

// Sends `number` after the first line about an epoch.
Conditions interrupt_with(int number) {
  return {.watch = [number, sent = false](pid_t pid, const std::string& out) mutable {
    if (sent || out.find("epoch 1/") == std::string::npos) return;
    sent = true;
    kill(pid, number);
  }};
}

TEST_F(Examples, SignalsSaveAndSaySo) {
  const std::string epochs = "400";
  Arguments arguments = tiny({"--epochs", epochs});
  std::erase(arguments, "--quiet");
  const json whole = succeed(folder_, "mnist", arguments).result();
  for (const int number : {SIGINT, SIGTERM}) {
    const std::string state = "signal" + std::to_string(number);
    Arguments saving = arguments;
    saving.insert(saving.end(), {"--save", state});
    const Outcome outcome = run(folder_, "mnist", saving, interrupt_with(number));
    EXPECT_EQ(outcome.status, 128 + number) << outcome.err;
    EXPECT_CONTAINS(outcome.out, "interrupted; the run is saved in " + state);
    EXPECT_LT(outcome.result().value("steps", 0), whole.value("steps", 0)) << "it was over before the signal came";
    EXPECT_TRUE(std::filesystem::exists(folder_ / state));
    const Outcome resumed = succeed(folder_, "mnist", tiny({"--epochs", epochs, "--resume", state}));
    EXPECT_EQ(resumed.result()["weights_sha256"], whole["weights_sha256"]);
  }
  EXPECT_CONTAINS(run(folder_, "mnist", arguments, interrupt_with(SIGINT)).out, "give --save FILE");
}

TEST_F(Examples, MissingOrBrokenDataIsOneLine) {
  expect_one_line_error(folder_, "mnist", {"--data", folder_ / "nowhere"}, {folder_ / "nowhere", "not a folder"});
  std::filesystem::create_directories(data_folder_ / "empty");
  expect_one_line_error(folder_, "mnist", {"--data", data_folder_ / "empty"},
                        {data_folder_ / "empty", "-images-idx3-ubyte", "does not exist", "--data"});
  write_tiny_mnist(data_);
  const std::string images = data_ + "/train-images-idx3-ubyte", labels = data_ + "/t10k-labels-idx1-ubyte.gz";
  const Bytes good = slurp(images), good_labels = slurp(labels);

  Bytes bytes(good.begin(), good.end() - 1000);  // truncated
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images, "320x28x28"});
  bytes = good;  // not an IDX file
  bytes[0] = 'P';
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images, "not an IDX file"});
  bytes = good;  // promises 2^31 pictures
  bytes[4] = 0x7f;
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images, "28x28"});
  bytes = good;  // something behind the end
  bytes.push_back(0);
  spit(images, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {images});
  spit(images, good);

  bytes = good_labels;  // a flipped bit in what is compressed
  bytes[bytes.size() / 2] ^= 0x10;
  spit(labels, bytes);
  expect_one_line_error(folder_, "mnist", tiny({}), {labels});
  spit(labels, Bytes(good_labels.begin(), good_labels.end() - 12));
  expect_one_line_error(folder_, "mnist", tiny({}), {labels});
  spit(labels, good_labels);
  succeed(folder_, "mnist", tiny({"--steps", "1"}));
}

TEST_F(Examples, WrongResumeFileIsOneLine) {
  const std::string state = folder_ / "mlp.state";
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state});  // missing
  succeed(folder_, "mnist", tiny({"--steps", "2", "--save", state}));
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}, "lenet"), {state, "mnist mlp", "mnist lenet"});
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state, "--seed", "7"}), {state, "--seed 1"});
  const Bytes good = slurp(state);
  for (const size_t keep : {size_t(0), size_t(5), good.size() / 2, good.size() - 1}) {
    spit(state, Bytes(good.begin(), good.begin() + std::ptrdiff_t(keep)));
    expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state});
  }
  spit(state, Bytes(1000, 'x'));
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state});
  save_safetensors(state, {.tensors = {{"weight", zeros({3})}}, .metadata = {}});  // weights of something else
  expect_one_line_error(folder_, "mnist", tiny({"--resume", state}), {state, "not a run state"});
}

TEST_F(Examples, SaveThatFailsLeavesWhatWasThere) {
  const std::string state = folder_ / "run.state";
  const Conditions full{.file_limit = 64 << 10};  // the state has 1.2 MB
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "2", "--save", state}), {state}, full);
  // Tried before the training and not after it, which would take longer than a program here may.
  expect_one_line_error(folder_, "mnist", {"--epochs", "1000", "--save", folder_ / "no/such/run"},
                        {folder_ / "no/such/run", "No such file"});
  succeed(folder_, "mnist", tiny({"--steps", "2", "--save", state}));
  const Bytes before = slurp(state);
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "3", "--save", state}), {state}, full);
  EXPECT_EQ(slurp(state), before);
  std::filesystem::create_directories(folder_ / "taken");
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "2", "--save", folder_ / "taken"}), {folder_ / "taken"});
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "taken"));
  const Conditions fuller{.file_limit = 1 << 10};
  expect_one_line_error(folder_, "xor", {"--quiet", "--steps", "2", "--picture", "xor.png"}, {"xor.png"}, fuller);
  expect_one_line_error(folder_, "mnist", tiny({"--steps", "2", "--picture", "wrong.png"}), {"wrong.png"}, fuller);
}

// A captured run ends in the bits of the one without --capture, and both agree with the CPU's.
TEST_F(Examples, ADeviceAgreesWithTheCpuAndCapturedEqualsEager) {
  if (!cuda::is_available()) GTEST_SKIP() << "skipped, no cuda device";
  const auto report = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"--quiet", "--model", "mlp", "--steps", "20", "--train-size", "2560"};
    args.insert(args.end(), more.begin(), more.end());
    return succeed(folder_, "mnist", args).result();
  };
  const json cpu = report({}), eager = report({"--device", "cuda"}),
             captured = report({"--device", "cuda", "--capture"});
  EXPECT_NEAR(eager.at("train_loss").get<double>(), cpu.at("train_loss").get<double>(),
              1e-4 * cpu.at("train_loss").get<double>());
  EXPECT_EQ(captured.at("weights_sha256"), eager.at("weights_sha256"));
  EXPECT_EQ(captured.at("train_loss"), eager.at("train_loss"));
  EXPECT_TRUE(captured.at("captured").get<bool>());
}

TEST_F(Examples, CaptureNeedsADevice) {
  expect_one_line_error(folder_, "mnist", {"--capture"}, {"--capture needs a device"});
}

TEST_F(Examples, CudaThatIsNotThereIsOneLine) {
  bool built = true;
  try {
    zeros({1}, {.device = DeviceType::cuda});
  } catch (const DeviceError&) {
    built = false;
  }
  if (built) GTEST_SKIP() << "skipped, this build has CUDA";
  for (const char* name : {"mnist", "xor", "overfit"})
    expect_one_line_error(folder_, name, {"--device", "cuda"}, {name, "cuda", "TENREC_CUDA=OFF"});
  expect_one_line_error(folder_, "mnist", {"--device", "gpu"}, {"gpu"});
}

TEST_F(Examples, DownloadWithoutANetworkIsOneLine) {
  // A proxy that nobody serves: the answer comes at once and nothing leaves the machine.
  const Conditions offline{.environment = {{"https_proxy", "http://127.0.0.1:9"},
                                           {"HTTPS_PROXY", "http://127.0.0.1:9"},
                                           {"all_proxy", "http://127.0.0.1:9"},
                                           {"no_proxy", ""},
                                           {"NO_PROXY", ""}}};
  std::filesystem::create_directories(folder_ / "data");
  expect_one_line_error(folder_, "mnist", {"--data", "data", "--download"}, {"--data"}, offline);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "data"));
  expect_one_line_error(folder_, "mnist", {"--download"}, {"--data DIR"}, offline);
}

TEST_F(Examples, BadFlagsAreRefused) {
  for (const Arguments& arguments : std::initializer_list<Arguments>{{"--model", "vgg"},
                                                                     {"--epochs", "0"},
                                                                     {"--lr", "-1"},
                                                                     {"--threads", "0"},
                                                                     {"--dtype", "f64"},
                                                                     {"--no-such-flag"}}) {
    const Outcome outcome = run(folder_, "mnist", arguments);
    EXPECT_GT(outcome.status, 0) << arguments[0];
    EXPECT_CONTAINS(outcome.err, arguments[0]);
  }
  EXPECT_CONTAINS(succeed(folder_, "mnist", {"--help"}).out, "--resume");
}

}  // namespace
}  // namespace tenrec::testing
