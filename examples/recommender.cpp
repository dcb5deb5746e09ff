// What will a user give a film? Two ways to fill a matrix of ratings of which few entries are known. Factors learned by
// stochastic gradient descent: mean + user + film + a product of two short vectors (Y. Koren, R. Bell and C. Volinsky,
// "Matrix factorization techniques for recommender systems", 2009). And the truncated singular value decomposition of
// the matrix whose unknown entries are filled with what the last decomposition says (R. Mazumder, T. Hastie and
// R. Tibshirani, "Spectral regularization algorithms for learning large incomplete matrices", 2010). The ratings are
// made up, so it is known how much of them is noise.
#include <chrono>
#include <cmath>
#include <cstdio>

#include "common/run_state.h"
#include "tenrec/autograd/ops/linalg.h"

using namespace tenrec;

namespace {

struct Settings {
  int64_t users = 400, films = 200, rank = 6;
  int64_t batch = 128, epochs = 40;
  double known = 0.2, noise = 0.35, lr = 2, decay = 0.03;
  double shrink = 6;  // about the largest singular value of what is known of the noise
};

// Rows and columns of entries of the matrix, and what stands there.
struct Ratings {
  Tensor user, film, value;
  int64_t count() const { return user.numel(); }
};

struct Data {
  Ratings train, test;
  double noise_rmse;  // of the test ratings against what they were before the noise: none can do better
};

// Tastes of four kinds, generous users and good films, and noise, cut to one star up to five.
Data make_ratings(const Settings& s) {
  constexpr int64_t kKinds = 4;
  Generator g(11);
  const TensorOptions on_host{.device = kCpu};
  const auto normal = [&](const Shape& shape, double deviation) { return randn(shape, on_host, &g) * deviation; };
  const Tensor tastes = matmul(normal({s.users, kKinds}, 0.7), normal({kKinds, s.films}, 0.7));
  const Tensor clean = 3.2 + normal({s.users, 1}, 0.4) + normal({1, s.films}, 0.5) + tastes;
  const Tensor noisy = clamp(clean + normal({s.users, s.films}, s.noise), 1, 5);
  // Entries in random order: the first are known, a tenth of all are the test.
  const Tensor order = randperm(s.users * s.films, &g).to(kCpu);
  const auto pick = [&](int64_t first, int64_t count) {
    const Tensor at = narrow(order, 0, first, count), user = floor_divide(at, s.films);
    const auto here = [](const Tensor& x) { return x.to(default_device()); };
    return Ratings{here(user), here(at - user * s.films), here(take(noisy, at))};
  };
  const auto known = int64_t(s.known * double(s.users * s.films)), held_out = s.users * s.films / 10;
  Data data{pick(0, known), pick(known, held_out), 0};
  const Tensor at = narrow(order, 0, known, held_out);
  data.noise_rmse = std::sqrt(mse_loss(clamp(take(clean, at), 1, 5), take(noisy, at)).item<double>());
  return data;
}

double rmse(const Tensor& got, const Tensor& expected) {
  return std::sqrt(mse_loss(clamp(got, 1, 5), expected).item<double>());
}

class Factors : public Module {
 public:
  Factors(const Settings& s, double mean)
      : user(s.users, s.rank), film(s.films, s.rank), user_bias(s.users, 1), film_bias(s.films, 1), mean_(mean) {
    const NoGrad off;
    for (const Tensor& w : {user.weight, film.weight}) mul_(w, 0.1);
    for (const Tensor& w : {user_bias.weight, film_bias.weight}) zero_(w);
  }
  Tensor operator()(const Ratings& r) const {
    const ModuleScope scope(*this);
    return predict(look_up(r));
  }
  // The mean over the ratings of the squared error and of `decay` times the squared numbers behind it.
  Tensor loss(const Ratings& r, double decay) const {
    const ModuleScope scope(*this);
    const Rows rows = look_up(r);
    const Tensor size = sum(square(rows.user) + square(rows.film), {.dim = 1}) + square(rows.bias);
    return mean(square(predict(rows) - r.value) + decay * size);
  }
  void visit(Visitor& v) override {
    v("user", user);
    v("film", film);
    v("user_bias", user_bias);
    v("film_bias", film_bias);
  }

 private:
  struct Rows {
    Tensor user, film, bias;  // [n, rank], [n, rank], [n]
  };
  Rows look_up(const Ratings& r) const {
    return {user(r.user), film(r.film), squeeze(user_bias(r.user) + film_bias(r.film), 1)};
  }
  Tensor predict(const Rows& rows) const { return sum(rows.user * rows.film, {.dim = 1}) + rows.bias + mean_; }

  Embedding user, film, user_bias, film_bias;
  double mean_;
};

// The biases alone: the mean of what is known, and what users and films are above it, shrunk where little is known.
Tensor biases(const Settings& s, const Ratings& r) {
  constexpr double kShrink = 5;
  const double level = mean(r.value).item<double>();
  const auto averages = [&](const Tensor& who, const Tensor& above, int64_t n) {
    return bincount(who, above, n) / (bincount(who, n).to(f32) + kShrink);
  };
  const Tensor film = averages(r.film, r.value - level, s.films);
  const Tensor user = averages(r.user, r.value - level - take(film, r.film), s.users);
  return level + unsqueeze(user, 1) + film;
}

struct Completed {
  Tensor filled;  // [users, films]
  int64_t rounds = 0;
};

// Fill, decompose, keep the largest values less `shrink`, fill again.
Completed complete(const Settings& s, const Ratings& r, int64_t rounds) {
  const NoGrad off;
  const Tensor base = biases(s, r);
  Tensor rest = zeros_like(base);  // what the product of factors says
  Completed out;
  const Tensor known = r.value - index(base, {r.user, r.film});
  while (out.rounds < rounds && !examples::interrupted()) {
    const SVD parts = svd(index_put(rest, {r.user, r.film}, known));
    const Tensor kept = clamp_min(narrow(parts.s, 0, 0, s.rank) - s.shrink, 0);
    const Tensor next = matmul(narrow(parts.u, 1, 0, s.rank) * kept, narrow(parts.vh, 0, 0, s.rank));
    const double change = (norm(next - rest) / norm(next)).item<double>();
    rest = next;
    ++out.rounds;
    if (change < 1e-3) break;
  }
  out.filled = base + rest;
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Ratings of films: factors by gradient descent, and by singular values", "recommender");
  examples::Flags flags;
  Settings s;
  std::string picture;
  examples::add_common_flags(app, flags);
  app.add_option("--rank", s.rank, "Length of the vectors")->check(CLI::Range(1, 100));
  app.add_option("--known", s.known, "Share of the ratings that are known")->check(CLI::Range(0.01, 0.9));
  app.add_option("--picture", picture, "PNG of the training");
  return examples::run_app(app, argc, argv, [&] {
    examples::apply(flags);
    examples::refuse_flags(app, {"--data", "--download", "--dtype", "--capture"});  // the ratings are made up
    if (!picture.empty()) examples::check_writable(picture);
    if (flags.epochs > 0) s.epochs = flags.epochs;
    if (flags.batch_size > 0) s.batch = flags.batch_size;
    if (flags.lr > 0) s.lr = flags.lr;
    const Data data = make_ratings(s);
    const double level = mean(data.train.value).item<double>();
    Factors factors(s, level);
    SGD optimizer(parameters(factors), {.lr = s.lr});
    const int64_t per_epoch = (data.train.count() + s.batch - 1) / s.batch;
    const int64_t steps = flags.steps > 0 ? std::min(flags.steps, s.epochs * per_epoch) : s.epochs * per_epoch;
    CosineAnnealingLR schedule(optimizer, {.t_max = s.epochs * per_epoch, .eta_min = s.lr / 100});
    const examples::Run state{concat("recommender rank ", s.rank), factors, optimizer, &schedule};
    examples::Progress progress;
    if (!flags.resume.empty()) progress = examples::load_run(flags.resume, state);
    const int64_t first = progress.step;
    examples::catch_signals();
    std::vector<double> test_curve;
    const auto test_rmse = [&] {
      const NoGrad off;
      return rmse(factors(data.test), data.test.value);
    };
    const auto start = std::chrono::steady_clock::now();
    while (progress.step < steps && !examples::interrupted()) {
      // The order is that of the epoch's number, so a run can be resumed within one.
      Generator shuffle(flags.seed + uint64_t(progress.step / per_epoch));
      const Tensor order = randperm(data.train.count(), &shuffle).to(default_device());
      for (int64_t i = progress.step % per_epoch; i < per_epoch && progress.step < steps && !examples::interrupted();
           ++i) {
        const Tensor rows = slice(order, 0, i * s.batch, (i + 1) * s.batch);
        const auto some = [&](const Tensor& x) { return index_select(x, 0, rows); };
        const Ratings batch{some(data.train.user), some(data.train.film), some(data.train.value)};
        const Tensor loss = factors.loss(batch, s.decay);
        optimizer.zero_grad();
        backward(loss);
        optimizer.step();
        schedule.step();
        progress.loss_sum += loss.item<double>();
        ++progress.loss_count;
        ++progress.step;
      }
      if (progress.step % per_epoch != 0) break;
      progress.end_epoch();
      test_curve.push_back(test_rmse());
      if (!flags.quiet && progress.step / per_epoch % 5 == 0) {
        std::printf("epoch %ld/%ld  loss %.4f  test rmse %.4f\n", long(progress.step / per_epoch), long(s.epochs),
                    progress.last_loss, test_curve.back());
        std::fflush(stdout);
      }
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const Completed completed = complete(s, data.train, 60);
    const auto of_table = [&](const Tensor& table) {
      return rmse(index(table, {data.test.user, data.test.film}), data.test.value);
    };
    const double sgd = test_rmse(), by_svd = of_table(completed.filled), plain = of_table(biases(s, data.train));
    if (!flags.quiet)
      std::printf(
          "root mean square error: biases alone %.4f, factors by SGD %.4f, by SVD %.4f (%ld rounds), noise %.4f\n",
          plain, sgd, by_svd, long(completed.rounds), data.noise_rmse);
    if (!picture.empty()) {
      Plot plot({.title = "test error by epoch", .x_label = "epoch", .y_label = "rmse"});
      plot.curve("SGD", test_curve)
          .curve("SVD", std::vector<double>(test_curve.size(), by_svd), {.dashed = true})
          .curve("noise", std::vector<double>(test_curve.size(), data.noise_rmse), {.dashed = true})
          .save(picture);
    }
    examples::finish_run(flags, state, progress);
    examples::print_result(
        examples::report(flags, "recommender", concat("factors of rank ", s.rank), "made up",
                         {{"epochs", s.epochs},
                          {"steps", progress.step},
                          {"train_loss", progress.mean_loss()},
                          {"rmse", sgd},
                          {"rmse_svd", by_svd},
                          {"rmse_biases", plain},
                          {"rmse_noise", data.noise_rmse},
                          {"svd_rounds", completed.rounds},
                          {"seconds", seconds},
                          {"samples_per_second", double((progress.step - first) * s.batch) / seconds},
                          {"weights_sha256", examples::weights_sha256(factors)}}));
  });
}
