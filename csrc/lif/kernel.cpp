// LIF neurons, a strip of them together through all tokens: loops that the compiler turns into
// vectors, as neurons are independent of each other. reference.cpp says the same for one.
#include "lif/lif.h"

namespace goose::lif::GOOSE_ISA {
namespace {

constexpr std::int64_t kStrip = 64;

inline std::uint8_t mark(const Sizes& z, const Inputs& in, std::int64_t b, std::int64_t t) {
  return in.marks == nullptr ? 0 : in.marks[b * z.T + t];
}

inline std::int64_t wide(const Sizes& z, std::int64_t k) {
  return z.K - k < kStrip ? z.K - k : kStrip;
}

// Where nothing is signed `low` is below every membrane.
inline float low(const Neuron& neuron) { return neuron.is_signed ? -neuron.theta : -__builtin_inff(); }

inline void step(const float* h, float tau, float high, float low, std::int64_t n,
                 float* __restrict v, float* __restrict m, float* __restrict s) {
  for (std::int64_t i = 0; i < n; ++i) {
    m[i] = v[i] + (h[i] - v[i]) / tau;
    s[i] = (m[i] > high ? 1.0F : 0.0F) - (m[i] < low ? 1.0F : 0.0F);
    v[i] = s[i] == 0.0F ? m[i] : 0.0F;
  }
}

inline void idle(const float* h, float tau, std::int64_t n, const float* v, float* __restrict m,
                 float* __restrict s) {
  for (std::int64_t i = 0; i < n; ++i) {
    m[i] = v[i] + (h[i] - v[i]) / tau;
    s[i] = 0.0F;
  }
}

void forward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Outputs& out,
             std::int64_t b, std::int64_t k) {
  const std::int64_t n = wide(z, k);
  float v[kStrip];
  __builtin_memcpy(v, in.state + b * z.K + k, sizeof(float) * static_cast<std::size_t>(n));
  for (std::int64_t t = 0; t < z.T; ++t) {
    const std::int64_t at = (b * z.T + t) * z.K + k;
    const std::uint8_t what = mark(z, in, b, t);
    if (what == kStart) {
      for (std::int64_t i = 0; i < n; ++i) v[i] = 0.0F;
    }
    if (what == kPadding) {
      idle(in.h + at, neuron.tau, n, v, out.membranes + at, out.spikes + at);
    } else {
      step(in.h + at, neuron.tau, neuron.theta, low(neuron), n, v, out.membranes + at,
           out.spikes + at);
    }
  }
  __builtin_memcpy(out.state + b * z.K + k, v, sizeof(float) * static_cast<std::size_t>(n));
}

// The surrogate's slope at one membrane.
struct Given {
  const float* slope;
  float operator()(std::int64_t i, float) const { return slope[i]; }
};
struct Atan {
  explicit Atan(const Neuron& neuron)
      : theta(neuron.theta), peak(neuron.alpha / 2), width(0.5F * 3.14159265F * neuron.alpha) {}
  float at(float u) const {
    const float x = width * u;
    return peak / (1 + x * x);
  }
  float operator()(std::int64_t, float m) const { return at(m - theta); }
  float theta, peak, width;
};
struct SignedAtan : Atan {
  using Atan::Atan;
  float operator()(std::int64_t, float m) const { return at(m - theta) + at(m + theta); }
};

template <class Slope>
inline void step_back(const Neuron& neuron, const float* m, const Slope& slope_at, const float* ds,
                      std::int64_t n, float* __restrict g, float* __restrict dh) {
  const float tau = neuron.tau, high = neuron.theta, below = low(neuron);
  const float reset = neuron.is_detached ? 0.0F : 1.0F;
  for (std::int64_t i = 0; i < n; ++i) {
    const float slope = slope_at(i, m[i]);
    const float size = neuron.is_signed && m[i] < 0.0F ? -m[i] : m[i];
    const float kept = m[i] > high || m[i] < below ? 0.0F : 1.0F;
    const float dm = ds[i] * slope + g[i] * (kept - reset * size * slope);
    dh[i] = dm / tau;
    g[i] = dm - dm / tau;
  }
}

void backward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Gradients& out,
              std::int64_t b, std::int64_t k) {
  const std::int64_t n = wide(z, k);
  float g[kStrip];
  __builtin_memcpy(g, out.dfinal + b * z.K + k, sizeof(float) * static_cast<std::size_t>(n));
  for (std::int64_t t = z.T - 1; t >= 0; --t) {
    const std::int64_t at = (b * z.T + t) * z.K + k;
    const std::uint8_t what = mark(z, in, b, t);
    if (what == kPadding) {
      for (std::int64_t i = 0; i < n; ++i) out.dh[at + i] = 0.0F;
      continue;
    }
    const float *m = out.membranes + at, *ds = out.dspikes + at;
    if (neuron.alpha <= 0) {
      step_back(neuron, m, Given{out.slope + at}, ds, n, g, out.dh + at);
    } else if (neuron.is_signed) {
      step_back(neuron, m, SignedAtan(neuron), ds, n, g, out.dh + at);
    } else {
      step_back(neuron, m, Atan(neuron), ds, n, g, out.dh + at);
    }
    if (what == kStart) {
      for (std::int64_t i = 0; i < n; ++i) g[i] = 0.0F;
    }
  }
  __builtin_memcpy(out.dstate + b * z.K + k, g, sizeof(float) * static_cast<std::size_t>(n));
}

}  // namespace

extern const Kernel kernel{forward, backward, kStrip};

}  // namespace goose::lif::GOOSE_ISA
