// The kernels of a mixer and its norms, one number at a time.
#include <cmath>
#include <vector>

#include "train/train.h"

namespace goose::train::reference {

void turn(const Turn& t, std::int64_t token) {
  for (std::int64_t i = token * t.heads * t.size; i < (token + 1) * t.heads * t.size; ++i) {
    const std::int64_t n = i % t.size, pair = token * t.half + n % t.half;
    if (n >= 2 * t.half) {
      t.y[i] = t.x[i];
    } else {
      const bool left = n < t.half;
      const float other = t.x[left ? i + t.half : i - t.half];
      t.y[i] = t.x[i] * t.cos[pair] + (left != t.back ? -other : other) * t.sin[pair];
    }
  }
}

namespace {

double length_of(const Keys& z, std::int64_t at, std::int64_t channel) {
  double squares = 0;
  for (std::int64_t n = 0; n < z.size; ++n) {
    const double u = static_cast<double>(z.k[at + n]) * z.removal[channel + n];
    squares += u * u;
  }
  return std::sqrt(squares);
}

double or_nothing(const float* gradient, std::int64_t at) {
  return gradient == nullptr ? 0.0 : gradient[at];
}

}  // namespace

void delta_keys(const Keys& z, const KeyOutputs& out, std::int64_t head) {
  for (std::int64_t token = 0; token < z.tokens; ++token) {
    const std::int64_t first = (token * z.heads + head) * z.size;
    const double divisor = std::fmax(length_of(z, first, head * z.size), z.least);
    for (std::int64_t n = 0; n < z.size; ++n) {
      const std::int64_t at = first + n, channel = head * z.size + n;
      const double k = z.k[at], a = z.a[at], kappa = k * z.removal[channel] / divisor;
      out.kappa[at] = static_cast<float>(kappa);
      out.alpha[at] = static_cast<float>(-kappa);
      out.beta[at] = static_cast<float>(kappa * a);
      out.written[at] = static_cast<float>(k * (1 + (a - 1) * z.replacement[channel]));
    }
  }
}

void delta_keys_back(const Keys& z, const KeyGradients& g, std::int64_t head) {
  const std::int64_t channels = head * z.size;
  std::vector<double> removal(static_cast<std::size_t>(z.size)), replacement(removal);
  for (std::int64_t token = 0; token < z.tokens; ++token) {
    const std::int64_t first = (token * z.heads + head) * z.size;
    const double length = length_of(z, first, channels);
    const double divisor = std::fmax(length, z.least);
    std::vector<double> dkappa;
    double along = 0;
    for (std::int64_t n = 0; n < z.size; ++n) {
      const std::int64_t at = first + n;
      dkappa.push_back(or_nothing(g.kappa, at) - or_nothing(g.alpha, at) +
                       or_nothing(g.beta, at) * z.a[at]);
      along += dkappa.back() * z.k[at] * z.removal[channels + n] / divisor;
    }
    for (std::int64_t n = 0; n < z.size; ++n) {
      const std::int64_t at = first + n;
      const auto i = static_cast<std::size_t>(n);
      const double k = z.k[at], a = z.a[at], dwritten = or_nothing(g.written, at);
      const double rho = z.removal[channels + n], share = z.replacement[channels + n];
      const double kappa = k * rho / divisor;
      const double du = (dkappa[i] - (length < z.least ? 0.0 : along * kappa)) / divisor;
      g.dk[at] = static_cast<float>(du * rho + dwritten * (1 + (a - 1) * share));
      g.da[at] = static_cast<float>(or_nothing(g.beta, at) * kappa + dwritten * k * share);
      removal[i] += du * k;
      replacement[i] += dwritten * k * (a - 1);
    }
  }
  for (std::int64_t n = 0; n < z.size; ++n) {
    g.dremoval[channels + n] = static_cast<float>(removal[static_cast<std::size_t>(n)]);
    g.dreplacement[channels + n] = static_cast<float>(replacement[static_cast<std::size_t>(n)]);
  }
}

namespace {

double inverse_size(const Norm& z, const float* x) {
  double squares = 0;
  for (std::int64_t i = 0; i < z.columns; ++i) squares += static_cast<double>(x[i]) * x[i];
  return 1 / std::sqrt(squares / static_cast<double>(z.columns) + z.eps);
}

}  // namespace

void norm(const Norm& z, float* y, std::int64_t token) {
  const std::int64_t first = token * z.columns;
  const double inverse = inverse_size(z, z.x + first);
  for (std::int64_t i = 0; i < z.columns; ++i) {
    y[first + i] = static_cast<float>(z.x[first + i] * inverse * z.weight[i]);
  }
}

void norm_back(const Norm& z, const NormGradients& g, std::int64_t block) {
  float* dweight = g.parts + block * z.columns;
  for (std::int64_t i = 0; i < z.columns; ++i) dweight[i] = 0;
  const std::int64_t end = (block + 1) * kNormBlock;
  for (std::int64_t token = block * kNormBlock; token < z.tokens && token < end; ++token) {
    const std::int64_t first = token * z.columns;
    const double inverse = inverse_size(z, z.x + first);
    double along = 0;
    for (std::int64_t i = 0; i < z.columns; ++i) {
      const double normed = z.x[first + i] * inverse;
      along += g.dy[first + i] * z.weight[i] * normed / static_cast<double>(z.columns);
      dweight[i] += static_cast<float>(g.dy[first + i] * normed);
    }
    for (std::int64_t i = 0; i < z.columns; ++i) {
      const double normed = z.x[first + i] * inverse, straight = g.dy[first + i] * z.weight[i];
      g.dx[first + i] = static_cast<float>((straight - normed * along) * inverse);
    }
  }
}

}  // namespace goose::train::reference
