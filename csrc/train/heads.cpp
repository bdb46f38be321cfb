// What an RWKV-7 mixer does with every head of a token beside the recurrence, in one pass each:
// positions, the direction that is forgotten, and the key that is written.
#include "simd.h"
#include "train/train.h"

namespace goose::train::GOOSE_ISA {

void turn(const Turn& t, std::int64_t token) {
  const float* cos = t.cos + token * t.half;
  const float* sin = t.sin + token * t.half;
  const float way = t.back ? -1.0F : 1.0F;
  for (std::int64_t head = token * t.heads; head < (token + 1) * t.heads; ++head) {
    const float* __restrict x = t.x + head * t.size;
    float* __restrict y = t.y + head * t.size;
    for (std::int64_t n = 0; n < t.half; ++n) {
      const float left = x[n], right = x[t.half + n], s = way * sin[n];
      y[n] = left * cos[n] - right * s;
      y[t.half + n] = right * cos[n] + left * s;
    }
    for (std::int64_t n = 2 * t.half; n < t.size; ++n) y[n] = x[n];
  }
}

void delta_keys(const Keys& z, const KeyOutputs& out, std::int64_t head) {
  const float* removal = z.removal + head * z.size;
  const float* replacement = z.replacement + head * z.size;
  for (std::int64_t token = 0; token < z.tokens; ++token) {
    const std::int64_t at = (token * z.heads + head) * z.size;
    Vec squares{};
    for (std::int64_t n = 0; n < z.size; n += kLanes) {
      const Vec u = load(z.k + at + n) * load(removal + n);
      squares += u * u;
    }
    const float length = __builtin_sqrtf(sum_of(squares));
    const float divisor = length > z.least ? length : z.least;
    for (std::int64_t n = 0; n < z.size; n += kLanes) {
      const Vec k = load(z.k + at + n), a = load(z.a + at + n);
      const Vec kappa = k * load(removal + n) / divisor;
      store(out.kappa + at + n, kappa);
      store(out.alpha + at + n, -kappa);
      store(out.beta + at + n, kappa * a);
      store(out.written + at + n, k * (1.0F + (a - 1.0F) * load(replacement + n)));
    }
  }
}

namespace {

inline Vec given(const float* gradient, std::int64_t at) {
  return gradient == nullptr ? Vec{} : load(gradient + at);
}

}  // namespace

void delta_keys_back(const Keys& z, const KeyGradients& g, std::int64_t head) {
  const float* removal = z.removal + head * z.size;
  const float* replacement = z.replacement + head * z.size;
  float* dremoval = g.dremoval + head * z.size;
  float* dreplacement = g.dreplacement + head * z.size;
  for (std::int64_t n = 0; n < z.size; ++n) dremoval[n] = dreplacement[n] = 0;
  const auto dkappa = [&](std::int64_t at, Vec a) {
    return given(g.kappa, at) - given(g.alpha, at) + given(g.beta, at) * a;
  };
  for (std::int64_t token = 0; token < z.tokens; ++token) {
    const std::int64_t at = (token * z.heads + head) * z.size;
    Vec squares{}, along{};
    for (std::int64_t n = 0; n < z.size; n += kLanes) {
      const Vec u = load(z.k + at + n) * load(removal + n);
      squares += u * u;
      along += u * dkappa(at + n, load(z.a + at + n));
    }
    const float length = __builtin_sqrtf(sum_of(squares));
    const bool shortest = length < z.least;
    const float inverse = 1.0F / (shortest ? z.least : length);
    // What changes the length alone does not change the direction.
    const float share = shortest ? 0.0F : sum_of(along) * inverse * inverse;
    for (std::int64_t n = 0; n < z.size; n += kLanes) {
      const Vec k = load(z.k + at + n), a = load(z.a + at + n), rho = load(removal + n);
      const Vec dwritten = given(g.written, at + n), away = a - 1.0F;
      const Vec kappa = k * rho * inverse;
      const Vec du = (dkappa(at + n, a) - k * rho * share) * inverse;
      const Vec written_share = load(replacement + n);
      store(g.dk + at + n, du * rho + dwritten * (1.0F + away * written_share));
      store(g.da + at + n, given(g.beta, at + n) * kappa + dwritten * k * written_share);
      store(dremoval + n, load(dremoval + n) + du * k);
      store(dreplacement + n, load(dreplacement + n) + dwritten * k * away);
    }
  }
}

}  // namespace goose::train::GOOSE_ISA
