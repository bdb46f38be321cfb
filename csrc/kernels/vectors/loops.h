// Loops that every instruction set's compiler turns into vectors by itself.
#pragma once

#include <cstdint>

namespace goose {
namespace {

inline void add_loop(float* __restrict x, const float* __restrict y, std::int64_t width) {
  for (std::int64_t i = 0; i < width; ++i) x[i] += y[i];
}

inline void multiply_loop(float* __restrict x, const float* __restrict y, std::int64_t width) {
  for (std::int64_t i = 0; i < width; ++i) x[i] *= y[i];
}

inline void relu_loop(float* x, std::int64_t width) {
  for (std::int64_t i = 0; i < width; ++i) x[i] = x[i] > 0 ? x[i] : 0;
}

inline void square_loop(float* x, std::int64_t width) {
  for (std::int64_t i = 0; i < width; ++i) x[i] *= x[i];
}

inline void blend_loop(float* __restrict x, const float* __restrict y,
                       const float* __restrict share, std::int64_t width) {
  for (std::int64_t i = 0; i < width; ++i) x[i] += (y[i] - x[i]) * share[i];
}

inline void scale_loop(const std::int32_t* __restrict x, const float* __restrict scale,
                       float amplitude, bool first, bool last, float* __restrict y,
                       std::int64_t width) {
  const float factor = last ? amplitude : 1.0F;
  if (first) {
    for (std::int64_t i = 0; i < width; ++i) y[i] = factor * (scale[i] * static_cast<float>(x[i]));
  } else {
    for (std::int64_t i = 0; i < width; ++i) {
      y[i] = factor * (y[i] + scale[i] * static_cast<float>(x[i]));
    }
  }
}

inline void key_loop(const float* __restrict k, const float* __restrict factor,
                     float* __restrict y, std::int64_t n) {
  if (factor == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = k[i];
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = k[i] * factor[i];
  }
}

inline void written_loop(const float* __restrict k, const float* __restrict a,
                         const float* __restrict replacement, float* __restrict y,
                         std::int64_t n) {
  if (replacement == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = k[i];
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = k[i] * (1 + (a[i] - 1) * replacement[i]);
  }
}

inline void unit_loop(const float* __restrict a, float inverse, float* __restrict alpha,
                      float* __restrict beta, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float kappa = alpha[i] * inverse;
    alpha[i] = -kappa;
    beta[i] = kappa * a[i];
  }
}

inline void turn_loop(float* __restrict left, float* __restrict right,
                      const float* __restrict cosine, const float* __restrict sine,
                      std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float a = left[i], b = right[i];
    left[i] = a * cosine[i] - b * sine[i];
    right[i] = b * cosine[i] + a * sine[i];
  }
}

inline void gate_loop(const float* __restrict x, float score, const float* __restrict v,
                      float plus, const float* __restrict gate, float* __restrict y,
                      std::int64_t n) {
  if (gate == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] + score * v[i];
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = (x[i] + score * v[i]) * (plus + gate[i]);
  }
}

}  // namespace
}  // namespace goose
