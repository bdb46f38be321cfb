// Spikes, one number at a time.
#include <cmath>
#include <cstdlib>
#include <initializer_list>

#include "kernels/spikes/spikes.h"

namespace goose::kernels::reference {
namespace {

int digit(Code code, int q, int step) {
  const int sign = (q > 0) - (q < 0);
  if (code == Code::rate) return std::abs(q) > step ? sign : 0;
  if (code == Code::radix2) return sign * (std::abs(q) >> step & 1);
  for (; step > 0; --step) q = (q + 3 * 4096 + 1) / 3 - 4096;
  return (q + 3 * 4096 + 1) % 3 - 1;
}

void single(const Encoder& e, const float* x, float threshold, Spikes& out) {
  double sum = 0;
  std::int32_t count = 0;
  for (int i = 0; i < e.width; ++i) {
    const bool fires = std::fabs(x[i]) > threshold;
    out.codes[i] = static_cast<std::int16_t>(fires ? (x[i] > 0 ? 1 : -1) : 0);
    sum += fires ? std::fabs(x[i]) : 0.0F;
    count += fires;
  }
  out.amplitude = count > 0 ? static_cast<float>(sum / count) : 0.0F;
}

// Nothing fires where nothing comes in, or too little to be divided by.
void silent(const Encoder& e, Spikes& out) {
  for (int i = 0; i < e.width; ++i) out.codes[i] = 0;
  out.amplitude = 0;
}

void several(const Encoder& e, const float* x, float amplitude, Spikes& out) {
  const auto most = static_cast<float>(levels(e.code, e.steps));
  out.amplitude = amplitude;
  const float inverse = 1.0F / out.amplitude;
  if (std::isinf(inverse)) return silent(e, out);
  for (int i = 0; i < e.width; ++i) {
    float q = std::nearbyint(x[i] * inverse);
    if (std::isnan(q)) q = 0;  // what is no number is silent
    out.codes[i] = static_cast<std::int16_t>(q > most ? most : q < -most ? -most : q);
  }
}

// An amplitude that all vectors share.
void fixed(const Encoder& e, const float* x, Spikes& out) {
  if (e.steps > 1) return several(e, x, e.amplitude, out);
  single(e, x, e.fires, out);
  out.amplitude = e.amplitude;
}

void relative(const Encoder& e, const float* x, double sum, Spikes& out) {
  const auto mean = static_cast<float>(sum / e.count);
  if (!(mean > 0) || std::isinf(mean)) {
    silent(e, out);
  } else if (e.steps == 1) {
    single(e, x, e.threshold * mean, out);
  } else {
    several(e, x, e.threshold * mean / static_cast<float>(levels(e.code, e.steps)), out);
  }
}

std::int32_t fill_up(std::uint32_t* list, std::int32_t count, std::int32_t empty) {
  while (count % kGroup) list[count++] = static_cast<std::uint32_t>(empty) * kEntry;
  return count;
}

}  // namespace

void list(const Encoder& e, Spikes& out) {
  std::uint32_t* to = out.lists;
  Span* span = out.spans;
  out.active = 0;
  for (int step = 0; step < e.steps; ++step) {
    for (int from = 0; from < e.width; from += e.group, ++span) {
      *span = {to, 0, 0};
      for (const int sign : {1, -1}) {
        std::int32_t count = 0;
        for (int i = from; i < from + e.group; ++i) {
          if (digit(e.code, out.codes[i], step) == sign) {
            to[count++] = static_cast<std::uint32_t>(i) * kEntry;
          }
        }
        out.active += count;
        count = fill_up(to, count, e.width);
        (sign > 0 ? span->plus : span->minus) = count / kGroup;
        to += count;
      }
    }
  }
}

std::int64_t select(const float* x, std::int64_t width, float threshold, std::uint32_t* to) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    if (x[i] >= threshold) to[count++] = static_cast<std::uint32_t>(i) * kEntry;
  }
  return count;
}

double magnitudes(const float* x, std::int64_t width) {
  double sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += std::fabs(x[i]);
  return sum;
}

void encode(const Encoder& e, const float* x, double sum, Spikes& out) {
  if (e.amplitude > 0) {
    fixed(e, x, out);
  } else {
    relative(e, x, sum, out);
  }
  list(e, out);
}

}  // namespace goose::kernels::reference
