// The examples of differential equations, derivatives, linear algebra and second-order methods, shortened.
#include "support/examples.h"

namespace tenrec::testing {
namespace {

TEST_F(Examples, NeuralOde) {
  const auto with = [&](Arguments more) {
    more.insert(more.end(), {"--batch-size", "8", "--lr", "0.02"});
    return succeed(folder_, "neural_ode", more);
  };
  const Outcome outcome = with({"--steps", "60", "--picture", "spiral.png"});
  const json whole = outcome.result();
  expect_run(whole, "neural_ode", "spiral", "test_loss");
  expect_picture(folder_ / "spiral.png");
  EXPECT_LT(whole.value("adjoint_error", 1.0), 1e-5);
  EXPECT_NEAR(whole.value("order", 0.0), 4, 0.3);
  EXPECT_LT(whole.value("test_loss", 99.0), 3);
  EXPECT_CONTAINS(outcome.out, "order of rk4");
  // The adjoint method leads nearly to the same network, but not to the same bits.
  const json adjoint = with({"--steps", "10", "--adjoint", "--quiet"}).result();
  const json plain = with({"--steps", "10", "--quiet", "--threads", "3"}).result();
  EXPECT_NEAR(adjoint.value("train_loss", 0.0), plain.value("train_loss", 9.0), 1e-2 * plain.value("train_loss", 9.0));
  EXPECT_NE(adjoint["weights_sha256"], plain["weights_sha256"]);
  EXPECT_EQ(with({"--steps", "10", "--quiet", "--threads", "1"}).sha(), plain.value("weights_sha256", ""));
  expect_one_line_error(folder_, "neural_ode", {"--data", "."}, {"--data", "means nothing"});
}

TEST_F(Examples, Pinn) {
  for (const char* equation : {"heat", "burgers"}) {
    const Outcome outcome = succeed(folder_, "pinn",
                                    {"--equation", equation, "--steps", "150", "--fine-steps", "60", "--batch-size",
                                     "200", "--hidden", "10", "--picture", concat(equation, ".png")});
    const json report = outcome.result();
    expect_run(report, "pinn", equation, "relative_error");
    expect_picture(folder_ / concat(equation, ".png"));
    EXPECT_LT(report.value("relative_error", 9.0), std::string(equation) == "heat" ? 0.05 : 0.5);
    EXPECT_CONTAINS(outcome.out, "relative error");
  }
  expect_one_line_error(folder_, "pinn", {"--picture", folder_ / "no/such.png"}, {folder_ / "no/such.png"});
}

TEST_F(Examples, Derivatives) {
  const Outcome outcome = succeed(folder_, "derivatives", {"--picture", "errors.png"});
  const json report = outcome.result();
  EXPECT_EQ(report.value("example", ""), "derivatives");
  EXPECT_EQ(report.value("functions", 0), 12);
  EXPECT_LT(report.value("relative_error", 1.0), 1e-11);
  EXPECT_GT(report.value("difference_error", 0.0), 1e-8);  // what differences can never do
  EXPECT_LT(report.value("difference_error", 1.0), 1e-2);
  EXPECT_EQ(outcome.lines().size(), 50u);  // head, twelve functions times four orders, result
  expect_picture(folder_ / "errors.png");
}

TEST_F(Examples, Saddle) {
  const json report = succeed(folder_, "saddle", {"--steps", "15", "--picture", "points.png"}).result();
  const json function = report.value("function", json::object()), network = report.value("network", json::object());
  EXPECT_EQ(function.value("minima", 0), 4);
  EXPECT_EQ(function.value("saddles", 0), 4);
  EXPECT_EQ(function.value("maxima", 0), 1);
  EXPECT_EQ(function.value("confirmed", 0), 9);
  EXPECT_GT(network.value("points", 0), 2);
  EXPECT_GT(network.value("saddles", 0), 0);
  EXPECT_EQ(network.value("confirmed", 0), network.value("points", -1));
  EXPECT_LT(network.value("largest_gradient", 1.0), 1e-7);
  expect_picture(folder_ / "points.png");
}

TEST_F(Examples, Recommender) {
  const auto with = [&](Arguments more) {
    more.insert(more.end(), {"--epochs", "10", "--quiet"});
    return succeed(folder_, "recommender", more).result();
  };
  const json whole = with({"--picture", "training.png"});
  expect_run(whole, "recommender", "made up", "rmse");
  expect_picture(folder_ / "training.png");
  for (const char* method : {"rmse", "rmse_svd"}) {
    EXPECT_LT(whole.value(method, 9.0), whole.value("rmse_biases", 0.0)) << method;
    EXPECT_GT(whole.value(method, 0.0), whole.value("rmse_noise", 9.0)) << method;
  }
  with({"--steps", "700", "--save", "half", "--threads", "1"});
  EXPECT_EQ(with({"--resume", "half", "--threads", "3"})["weights_sha256"], whole["weights_sha256"]);
  expect_one_line_error(folder_, "recommender", {"--resume", "half", "--rank", "3"}, {"half", "rank 3"});
}

TEST_F(Examples, LinalgWalk) {
  const json report = succeed(folder_, "linalg_walk", {"--steps", "600", "--picture", "angles.png"}).result();
  expect_run(report, "linalg_walk", "Gaussian cloud", "largest_angle");
  EXPECT_EQ(report.value("principal_angles", json::array()).size(), 4u);
  EXPECT_LT(report.value("largest_angle", 9.0), 1e-2);
  EXPECT_LT(report.value("eigh_angle", 9.0), 1e-7);
  EXPECT_LT(report.value("eigh_error", 9.0), 1e-10);
  expect_picture(folder_ / "angles.png");
  expect_one_line_error(folder_, "linalg_walk", {"--kept", "30"}, {"--kept 30", "--dims 20"});
}

TEST_F(Examples, OptimRace) {
  const json functions =
      succeed(folder_, "optim_race", {"--quiet", "--steps", "300", "--picture", "paths.png"}).result();
  expect_picture(folder_ / "paths.png");
  const json race = functions.value("race", json::object());
  ASSERT_EQ(race.size(), 4u);
  EXPECT_EQ(race["quadratic"]["Newton"].value("steps", 0), 1);
  for (const auto& [problem, racers] : race.items()) {
    EXPECT_EQ(racers.size(), 16u) << problem;
    for (const char* method : {"Newton", "NewtonCG", "LBFGS"}) {
      EXPECT_TRUE(racers[method].value("reached", false)) << problem << " " << method;
    }
  }
  const json digits = succeed(folder_, "optim_race",
                              {"--problem", "mlp", "--train-size", "600", "--batch-size", "100", "--steps", "50",
                               "--goal", "2", "--seeds", "1", "--only", "KFAC", "--quiet"})
                          .result()
                          .value("race", json::object());
  EXPECT_EQ(digits.size(), 1u);
  EXPECT_TRUE(digits["KFAC"].value("reached", false));
  const json text = succeed(folder_, "optim_race",
                            {"--problem", "gpt", "--batch-size", "2", "--steps", "2", "--look", "2", "--goal", "10",
                             "--seeds", "1", "--only", "Muon", "--quiet"})
                        .result()
                        .value("race", json::object());
  EXPECT_EQ(text["Muon"].value("steps", 0), 2);
  expect_one_line_error(folder_, "optim_race", {"--problem", "gpt", "--train-size", "20"}, {"--train-size"});
  expect_one_line_error(folder_, "optim_race", {"--problem", "mlp", "--train-size", "20"}, {"batch of 512", "20"});
}

TEST_F(Examples, NewtonLogistic) {
  const json report = succeed(folder_, "newton_logistic", {"--picture", "slopes.png"}).result();
  expect_picture(folder_ / "slopes.png");
  EXPECT_LT(report.value("coefficient_error", 1.0), 1e-6);
  EXPECT_LT(report.value("steps", 99), 15);
  EXPECT_GT(report.value("train_accuracy", 0.0), 90);
  EXPECT_GT(report.value("gradient_descent_slope", 0.0), 1e-6);  // 200 steps do not get there
  spit_text(folder_ / "wdbc.csv", "1,M,0.5,1\n2,B,0.25\n");
  expect_one_line_error(folder_, "newton_logistic", {"--data", "."}, {"wdbc.csv", "line 2"});
}

TEST_F(Examples, Regression) {
  const json report = succeed(folder_, "regression", {"--picture", "fits.png"}).result();
  expect_picture(folder_ / "fits.png");
  EXPECT_LT(report.value("coefficient_error", 1.0), 1e-6);
  EXPECT_LT(report.value("relative_error", 1.0), 1e-9);
  spit_text(folder_ / "Misra1a.dat", "b1 = 1 2 3 4\n");
  expect_one_line_error(folder_, "regression", {"--data", "."}, {"Misra1a.dat", "no data set of NIST"});
}

}  // namespace
}  // namespace tenrec::testing
