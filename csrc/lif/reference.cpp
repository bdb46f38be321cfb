// The plain loops that kernel.cpp is measured against: one neuron at a time.
#include "lif/lif.h"

namespace goose::lif::reference {
namespace {

std::uint8_t mark(const Sizes& z, const Inputs& in, std::int64_t b, std::int64_t t) {
  return in.marks == nullptr ? 0 : in.marks[b * z.T + t];
}

float fired(const Neuron& neuron, float m) {
  if (m > neuron.theta) return 1;
  return neuron.is_signed && m < -neuron.theta ? -1.0F : 0.0F;
}

void forward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Outputs& out,
             std::int64_t b, std::int64_t k) {
  float v = in.state[b * z.K + k];
  for (std::int64_t t = 0; t < z.T; ++t) {
    const std::int64_t at = (b * z.T + t) * z.K + k;
    const std::uint8_t what = mark(z, in, b, t);
    if (what == kStart) v = 0;
    const float m = v + (in.h[at] - v) / neuron.tau;
    const float s = what == kPadding ? 0.0F : fired(neuron, m);
    out.membranes[at] = m;
    out.spikes[at] = s;
    if (what != kPadding) v = s == 0 ? m : 0.0F;
  }
  out.state[b * z.K + k] = v;
}

float atan_slope(const Neuron& neuron, float m) {
  const auto at = [&](float u) {
    const float x = 0.5F * 3.14159265F * neuron.alpha * u;
    return neuron.alpha / 2 / (1 + x * x);
  };
  return at(m - neuron.theta) + (neuron.is_signed ? at(m + neuron.theta) : 0.0F);
}

void backward(const Sizes& z, const Neuron& neuron, const Inputs& in, const Gradients& out,
              std::int64_t b, std::int64_t k) {
  float g = out.dfinal[b * z.K + k];
  for (std::int64_t t = z.T - 1; t >= 0; --t) {
    const std::int64_t at = (b * z.T + t) * z.K + k;
    const std::uint8_t what = mark(z, in, b, t);
    if (what == kPadding) {
      out.dh[at] = 0;
      continue;
    }
    const float m = out.membranes[at];
    const float slope = neuron.alpha > 0 ? atan_slope(neuron, m) : out.slope[at];
    const float size = neuron.is_signed && m < 0 ? -m : m;
    const float kept = fired(neuron, m) == 0 ? 1.0F : 0.0F;
    const float dm = out.dspikes[at] * slope + g * (neuron.is_detached ? kept : kept - size * slope);
    out.dh[at] = dm / neuron.tau;
    g = what == kStart ? 0.0F : dm - dm / neuron.tau;
  }
  out.dstate[b * z.K + k] = g;
}

}  // namespace

extern const Kernel kernel{forward, backward, 1};

}  // namespace goose::lif::reference
