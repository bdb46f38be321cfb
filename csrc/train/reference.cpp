// The kernels of training, one number at a time.
#include <cmath>
#include <vector>

#include "kernels/hadamard/hadamard.h"
#include "train/train.h"

namespace goose::train::reference {
namespace {

int sign_beyond(float x, float edge) { return (x > edge) - (x < -edge); }

struct Plane {
  float scale = 0;
  double count = 0, product = 0;
};

Plane one_plane(const std::vector<float>& w, float factor, std::int8_t* codes) {
  double sum = 0;
  for (const float x : w) sum += std::fabs(x);
  const float edge = factor * static_cast<float>(sum / static_cast<double>(w.size()));
  Plane plane;
  for (std::size_t i = 0; i < w.size(); ++i) {
    codes[i] = static_cast<std::int8_t>(sign_beyond(w[i], edge));
    plane.count += codes[i] != 0;
    plane.product += codes[i] != 0 ? std::fabs(w[i]) : 0.0F;
  }
  plane.scale = static_cast<float>(plane.product / (plane.count > 0 ? plane.count : 1));
  return plane;
}

}  // namespace

void quantise(const float* weight, float factor, const Planes& p, std::int64_t row) {
  const std::int64_t groups = p.columns / p.group, plane = p.rows * p.columns;
  for (std::int64_t g = 0; g < groups; ++g) {
    const float* from = weight + row * p.columns + g * p.group;
    std::int8_t* codes = p.codes + row * p.columns + g * p.group;
    float* scale = p.scales + row * groups + g;
    std::vector<float> w(from, from + p.group);
    double sum = 0, ab = 0, wb = 0;
    for (const float x : w) sum += x;
    const Plane a = one_plane(w, factor, codes);
    *scale = a.scale;
    if (p.planes == 2) {
      for (std::int64_t i = 0; i < p.group; ++i) {
        w[static_cast<std::size_t>(i)] -= a.scale * static_cast<float>(codes[i]);
      }
      const Plane b = one_plane(w, factor, codes + plane);
      for (std::int64_t i = 0; i < p.group; ++i) {
        ab += codes[i] * codes[plane + i];
        wb += static_cast<double>(from[i]) * codes[plane + i];
      }
      const double determinant = a.count * b.count - ab * ab;
      const bool unique = determinant > 0;
      *scale = unique ? static_cast<float>((b.count * a.product - ab * wb) / determinant) : a.scale;
      scale[p.rows * groups] =
          unique ? static_cast<float>((a.count * wb - ab * a.product) / determinant) : b.scale;
    }
    if (!std::isfinite(sum)) *scale = NAN;
  }
}

void dense(const Planes& p, std::int64_t row, float* out) {
  const std::int64_t groups = p.columns / p.group;
  for (std::int64_t k = 0; k < p.columns; ++k) {
    float x = 0;
    for (std::int64_t plane = 0; plane < p.planes; ++plane) {
      const std::int64_t at = plane * p.rows + row;
      x += p.scales[at * groups + k / p.group] * static_cast<float>(p.codes[at * p.columns + k]);
    }
    out[row * p.columns + k] = x;
  }
}

void code(const Coding& c, const float* x, const Coded& out, std::int64_t token) {
  const std::int64_t first = token * c.columns;
  float* h = out.values + first;
  for (std::int64_t i = 0; i < c.columns; ++i) h[i] = x[first + i];
  if (c.rotate) kernels::reference::hadamard(h, c.columns);
  double sum = 0, kept = 0, fired = 0;
  for (std::int64_t i = 0; i < c.columns; ++i) sum += std::fabs(h[i]);
  const auto mean = static_cast<float>(sum / static_cast<double>(c.columns));
  const float edge = mean * c.threshold;
  for (std::int64_t i = 0; i < c.columns; ++i) {
    const bool fires = std::fabs(h[i]) > edge;
    kept += fires ? std::fabs(h[i]) : 0.0F;
    fired += fires;
  }
  float amplitude = edge / static_cast<float>(c.top);
  if (c.steps == 1) amplitude = static_cast<float>(kept / (fired > 0 ? fired : 1));
  const float inverse = 1.0F / amplitude;
  const bool silent = !std::isfinite(mean) || (c.steps > 1 && std::isinf(inverse));
  if (silent) amplitude = mean - mean;
  out.amplitude[token] = amplitude;
  const float unit = c.steps == 1 && edge > amplitude ? edge : amplitude;
  for (std::int64_t i = 0; i < c.columns; ++i) {
    const auto top = static_cast<float>(c.top);
    float q = c.steps == 1 ? static_cast<float>(sign_beyond(h[i], edge))
                           : std::nearbyint(h[i] * inverse);
    q = silent ? 0 : q > top ? top : q < -top ? -top : q;
    out.passes[first + i] = std::fabs(h[i]) <= unit * (top + 0.5F);
    out.levels[first + i] = static_cast<std::uint8_t>(static_cast<int>(q) + c.top);
  }
  values(c, out, token);
}

void values(const Coding& c, const Coded& of, std::int64_t token) {
  for (std::int64_t i = token * c.columns; i < (token + 1) * c.columns; ++i) {
    of.values[i] = of.amplitude[token] * static_cast<float>(of.levels[i] - c.top);
  }
}

void code_back(const Coding& c, const std::uint8_t* passes, const float* dvalues, float* dx,
               std::int64_t token) {
  const std::int64_t first = token * c.columns;
  for (std::int64_t i = first; i < first + c.columns; ++i) dx[i] = passes[i] ? dvalues[i] : 0.0F;
  if (c.rotate) kernels::reference::hadamard(dx + first, c.columns);
}

namespace {

void token_of(const Product& p, const std::uint16_t*, std::int64_t token, void*) {
  const Planes& m = p.matrix;
  for (std::int64_t row = 0; row < m.rows; ++row) {
    float total = 0;
    for (std::int64_t plane = 0; plane < m.planes; ++plane) {
      const std::int64_t at = plane * m.rows + row;
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < m.columns; ++k) {
        sum += (p.levels[token * m.columns + k] - p.top) * m.codes[at * m.columns + k];
      }
      total += m.scales[at] * static_cast<float>(sum);
    }
    p.y[token * m.rows + row] = p.amplitude[token] * total;
  }
}

void token_back(const ProductBack& p, const std::uint16_t*, std::int64_t token, void*) {
  const Planes& m = p.matrix;
  for (std::int64_t k = 0; k < m.columns; ++k) {
    double sum = 0;
    for (std::int64_t at = 0; at < m.planes * m.rows; ++at) {
      const float dy = p.dy[token * m.rows + at % m.rows];
      sum += static_cast<double>(dy * m.scales[at]) * m.codes[at * m.columns + k];
    }
    p.dvalues[token * m.columns + k] = static_cast<float>(sum);
  }
}

// Codes are read as they are.
template <class P>
void no_places(const P&, std::int64_t, std::uint16_t*) {}
template <class P>
std::int64_t no_bytes(const P&) {
  return 0;
}

}  // namespace

const Tables<Product> product{1, no_places<Product>, no_bytes<Product>, token_of};
const Tables<ProductBack> product_back{1, no_places<ProductBack>, no_bytes<ProductBack>, token_back};

namespace {

// Log-probabilities at tau of one token's words.
std::vector<double> log_softmax(const float* z, const Divergence& d) {
  double most = z[0], total = 0;
  for (std::int64_t i = 0; i < d.words; ++i) most = z[i] > most ? z[i] : most;
  for (std::int64_t i = 0; i < d.words; ++i) total += std::exp((z[i] - most) / d.tau);
  std::vector<double> found(static_cast<std::size_t>(d.words));
  for (std::size_t i = 0; i < found.size(); ++i) {
    found[i] = (z[i] - most) / d.tau - std::log(total);
  }
  return found;
}

}  // namespace

void divergence(const Divergence& d, std::int64_t token) {
  const std::vector<double> log_p = log_softmax(d.teacher + token * d.words, d);
  const std::vector<double> log_q = log_softmax(d.student + token * d.words, d);
  double value = 0;
  for (std::size_t i = 0; i < log_p.size(); ++i) {
    const double p = std::exp(log_p[i]), q = std::exp(log_q[i]);
    value += p * (log_p[i] - log_q[i]);
    d.slope[token * d.words + static_cast<std::int64_t>(i)] = static_cast<float>(d.tau * (q - p));
  }
  d.values[token] = static_cast<float>(value * d.tau * d.tau);
}

void top_divergence(const Divergence& d, std::int64_t token) {
  const std::vector<double> log_q = log_softmax(d.student + token * d.words, d);
  const double log_rest = d.log_rest[token], rest = std::exp(log_rest);
  std::vector<double> p(log_q.size(), -1.0);
  double value = 0, known = 0;
  for (std::int64_t k = token * d.top; k < (token + 1) * d.top; ++k) {
    const auto word = static_cast<std::size_t>(d.ids[k]);
    p[word] = std::exp(static_cast<double>(d.log_p[k]));
    value += p[word] * (d.log_p[k] - log_q[word]);
    known += std::exp(log_q[word]);
  }
  const bool clamped = 1 - known <= d.least;
  const double counts = clamped ? static_cast<double>(d.least) : 1 - known;
  if (rest > 0) value += rest * (log_rest - std::log(counts));
  const double ratio = clamped ? 0 : rest / counts, sum_p = 1 - rest;
  for (std::size_t i = 0; i < log_q.size(); ++i) {
    const double q = std::exp(log_q[i]);
    const double slope = p[i] < 0 ? q * (sum_p - ratio * known)
                                  : q * (sum_p + ratio * (1 - known)) - p[i];
    d.slope[token * d.words + static_cast<std::int64_t>(i)] = static_cast<float>(d.tau * slope);
  }
  d.values[token] = static_cast<float>(value * d.tau * d.tau);
}

}  // namespace goose::train::reference
