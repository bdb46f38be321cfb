// Norms, activations and the WKV-7 step, a vector at a time.
#include "kernels/vectors/loops.h"
#include "kernels/vectors/vectors.h"
#include "simd_math.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

constexpr float kDecayRate = 0.60653066F;  // exp(-1/2)

inline Vec logistic(Vec x) { return 1.0F / (1.0F + power_of_e(-x)); }

inline Vec tangent(Vec x) {
  const Vec e = power_of_e(clamp(2.0F * x, -30.0F, 30.0F));
  const Vec large = (e - 1.0F) / (e + 1.0F);
  // Near zero the difference above cancels; an odd polynomial takes over.
  const Vec s = x * x;
  const Vec small =
      x + x * s * (-0.33333333F + s * (0.13333333F + s * (-0.053968254F + s * 0.021869489F)));
  return s < 0.04F ? small : large;
}

// Error function by Abramowitz and Stegun 7.1.26, absolute error below 2e-7.
inline Vec error_function(Vec x) {
  const Vec size = (Vec)((IntVec)x & 0x7FFFFFFF);
  const Vec t = 1.0F / (1.0F + 0.3275911F * size);
  Vec p = t * 1.061405429F - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  const Vec y = 1.0F - p * t * power_of_e(-size * size);
  return (Vec)((IntVec)y | ((IntVec)x & (std::int32_t)0x80000000));
}

// Applies `f` in place; what does not fill a vector goes through a padded one.
template <class Function>
inline void map(float* x, std::int64_t width, Function f) {
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) store(x + i, f(load(x + i)));
  if (i == width) return;
  float rest[kLanes] = {};
  __builtin_memcpy(rest, x + i, sizeof(float) * static_cast<std::size_t>(width - i));
  store(rest, f(load(rest)));
  __builtin_memcpy(x + i, rest, sizeof(float) * static_cast<std::size_t>(width - i));
}

template <class Function>
inline float sum(std::int64_t width, Function term, const float* x) {
  Vec total = {};
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) total += term(load(x + i));
  float rest[kLanes] = {};
  float result = sum_of(total);
  if (i < width) {
    __builtin_memcpy(rest, x + i, sizeof(float) * static_cast<std::size_t>(width - i));
    const Vec last = term(load(rest));
    for (std::int64_t j = 0; j < width - i; ++j) result += last[j];
  }
  return result;
}

// Sum of a * b, or of a * b * c; n a multiple of 16.
inline float dot(const float* a, const float* b, const float* c, std::int64_t n) {
  Vec sum = {};
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const Vec product = load(a + i) * load(b + i);
    sum += c == nullptr ? product : product * load(c + i);
  }
  return sum_of(sum);
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, float* y, std::int64_t width) {
  const float squares = sum(width, [](Vec t) { return t * t; }, x);
  const float factor = 1.0F / __builtin_sqrtf(squares / static_cast<float>(width) + eps);
  for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] * factor * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* y,
                std::int64_t width) {
  const auto count = static_cast<float>(width);
  const float mean = sum(width, [](Vec t) { return t; }, x) / count;
  const float squares = sum(width, [mean](Vec t) { return (t - mean) * (t - mean); }, x);
  const float factor = 1.0F / __builtin_sqrtf(squares / count + eps);
  for (std::int64_t i = 0; i < width; ++i) {
    const float normal = (x[i] - mean) * factor;
    y[i] = (weight == nullptr ? normal : normal * weight[i]) + (bias == nullptr ? 0.0F : bias[i]);
  }
}

#define GOOSE_SQUARE_ROOT __builtin_sqrtf
#include "kernels/vectors/loops.inc"

void shift(const float* x, const float* last, const float* mix, float* y, std::int64_t width) {
  for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] + (last[i] - x[i]) * mix[i];
}

void sigmoid(float* x, std::int64_t width) { map(x, width, logistic); }
void tanh(float* x, std::int64_t width) { map(x, width, tangent); }
void silu(float* x, std::int64_t width) {
  map(x, width, [](Vec t) { return t * logistic(t); });
}
void gelu(float* x, std::int64_t width) {
  map(x, width, [](Vec t) { return 0.5F * t * (1.0F + error_function(t * 0.70710678F)); });
}
void gelu_tanh(float* x, std::int64_t width) {
  map(x, width, [](Vec t) {
    return 0.5F * t * (1.0F + tangent(0.79788456F * (t + 0.044715F * t * t * t)));
  });
}
void decay(float* x, std::int64_t width) {
  map(x, width, [](Vec t) { return power_of_e(-kDecayRate * logistic(t)); });
}

void masses(const float* x, std::int64_t width, float most, float sharpness, const float* margins,
            float* masses) {
  Vec sum[kMargins] = {};
  const auto add = [&](Vec value) {
    const Vec below = (value - most) * sharpness, mass = power_of_e(below);
#pragma GCC unroll 8
    for (int j = 0; j < kMargins; ++j) {
      sum[j] += (Vec)((IntVec)mass & (below >= -margins[j]));
    }
  };
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) add(load(x + i));
  if (i < width) {
    Vec rest = Vec{} - __builtin_inff();
    for (int j = 0; j < width - i; ++j) rest[j] = x[i + j];
    add(rest);
  }
  for (int j = 0; j < kMargins; ++j) masses[j] = sum_of(sum[j]);
}

namespace {

typedef std::uint32_t Words __attribute__((vector_size(GOOSE_VECTOR_BYTES)));
typedef std::uint16_t Halves __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));

inline Vec taken(const float* from) { return load(from); }
inline Vec taken(const std::uint16_t* bf16) {
#if defined(__AVX2__) && !defined(__AVX512F__)  // compilers take both halves apart
  const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bf16));
  return (Vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16);
#endif
  Halves halves;
  __builtin_memcpy(&halves, bf16, sizeof halves);
  return (Vec)(__builtin_convertvector(halves, Words) << 16);
}

inline void put(float* to, Vec x) { store(to, x); }
inline void put(std::uint16_t* to, Vec x) {
  const Words upper = ((Words)x + 0x8000) >> 16;
#if defined(__AVX2__) && !defined(__AVX512F__)
  const __m256i twice = _mm256_packus_epi32((__m256i)upper, (__m256i)upper);
  const __m256i lanes = _mm256_permute4x64_epi64(twice, 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(lanes));
#else
  const Halves halves = __builtin_convertvector(upper, Halves);
  __builtin_memcpy(to, &halves, sizeof halves);
#endif
}

// A strip of `vectors` vectors of value channels through all keys, twice: what the state gives for
// alpha, then the update together with what it gives for r.
template <int vectors, class Number>
inline __attribute__((always_inline)) void strip(Number* state, const Number* next, const float* r, const float* w,
                  const float* k, const float* v, const float* alpha, const float* beta, float* y,
                  std::int64_t n) {
  Vec removed[vectors] = {}, read[vectors] = {}, value[vectors];
  for (std::int64_t j = 0; j < n; ++j) {
    for (int i = 0; i < vectors; ++i) {
      __builtin_prefetch(next + j * n + i * kLanes, 1, 2);
      removed[i] += taken(state + j * n + i * kLanes) * alpha[j];
    }
  }
  for (int i = 0; i < vectors; ++i) value[i] = load(v + i * kLanes);
  for (std::int64_t j = 0; j < n; ++j) {
    for (int i = 0; i < vectors; ++i) {
      Number* at = state + j * n + i * kLanes;
      const Vec s = taken(at) * w[j] + removed[i] * beta[j] + value[i] * k[j];
      put(at, s);
      read[i] += s * r[j];
    }
  }
  for (int i = 0; i < vectors; ++i) store(y + i * kLanes, read[i]);
}

template <class Number>
inline __attribute__((always_inline)) void recur(Number* state, const Number* next, const float* r, const float* w,
                  const float* k, const float* v, const float* alpha, const float* beta, float* y,
                  std::int64_t n) {
  constexpr int kStrip = 4;
  std::int64_t i = 0;
  for (; i + kStrip * kLanes <= n; i += kStrip * kLanes) {
    strip<kStrip>(state + i, next + i, r, w, k, v + i, alpha, beta, y + i, n);
  }
  for (; i + kLanes <= n; i += kLanes) {
    strip<1>(state + i, next + i, r, w, k, v + i, alpha, beta, y + i, n);
  }
}

}  // namespace

void wkv(float* state, const float* next, const float* r, const float* w, const float* k,
         const float* v, const float* alpha, const float* beta, float* y, std::int64_t n) {
  recur(state, next, r, w, k, v, alpha, beta, y, n);
}

void wkv_bf16(std::uint16_t* state, const std::uint16_t* next, const float* r, const float* w,
              const float* k, const float* v, const float* alpha, const float* beta, float* y,
              std::int64_t n) {
  recur(state, next, r, w, k, v, alpha, beta, y, n);
}

}  // namespace goose::kernels::GOOSE_ISA
