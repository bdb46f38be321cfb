// Norms, activations and the WKV-7 step in plain loops.
#include <cmath>
#include <cstring>

#include "kernels/vectors/loops.h"
#include "kernels/vectors/vectors.h"

namespace goose::kernels::reference {
namespace {

constexpr float kDecayRate = 0.60653066F;  // exp(-1/2)

template <class Function>
void map(float* x, std::int64_t width, Function f) {
  for (std::int64_t i = 0; i < width; ++i) x[i] = f(x[i]);
}

// Sum of a * b, or of a * b * c.
float dot(const float* a, const float* b, const float* c, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double{a[i]} * b[i] * (c == nullptr ? 1.0F : c[i]);
  return static_cast<float>(sum);
}

float logistic(float x) { return 1.0F / (1.0F + std::exp(-x)); }

float taken(float x) { return x; }
float taken(std::uint16_t bf16) {
  const std::uint32_t bits = std::uint32_t{bf16} << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

void put(float& to, float x) { to = x; }
void put(std::uint16_t& to, float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  to = static_cast<std::uint16_t>((bits + 0x8000) >> 16);
}

template <class Number>
void recur(Number* state, const float* r, const float* w, const float* k, const float* v,
           const float* alpha, const float* beta, float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    float removed = 0, read = 0;
    for (std::int64_t j = 0; j < n; ++j) removed += taken(state[j * n + i]) * alpha[j];
    for (std::int64_t j = 0; j < n; ++j) {
      const float s = taken(state[j * n + i]) * w[j] + removed * beta[j] + v[i] * k[j];
      put(state[j * n + i], s);
      read += s * r[j];
    }
    y[i] = read;
  }
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, float* y, std::int64_t width) {
  double squares = 0;
  for (std::int64_t i = 0; i < width; ++i) squares += static_cast<double>(x[i]) * x[i];
  const auto factor = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(width) + eps));
  for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] * factor * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* y,
                std::int64_t width) {
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(width);
  for (std::int64_t i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + eps);
  for (std::int64_t i = 0; i < width; ++i) {
    const auto normal = static_cast<float>((x[i] - mean) * factor);
    y[i] = (weight == nullptr ? normal : normal * weight[i]) + (bias == nullptr ? 0 : bias[i]);
  }
}

#define GOOSE_SQUARE_ROOT std::sqrt
#include "kernels/vectors/loops.inc"

void shift(const float* x, const float* last, const float* mix, float* y, std::int64_t width) {
  for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] + (last[i] - x[i]) * mix[i];
}

void sigmoid(float* x, std::int64_t width) { map(x, width, logistic); }

void tanh(float* x, std::int64_t width) {
  map(x, width, [](float t) { return std::tanh(t); });
}

void silu(float* x, std::int64_t width) {
  map(x, width, [](float t) { return t * logistic(t); });
}

void gelu(float* x, std::int64_t width) {
  map(x, width, [](float t) { return 0.5F * t * (1 + std::erf(t * 0.70710678F)); });
}

void gelu_tanh(float* x, std::int64_t width) {
  map(x, width, [](float t) {
    return 0.5F * t * (1 + std::tanh(0.79788456F * (t + 0.044715F * t * t * t)));
  });
}

void decay(float* x, std::int64_t width) {
  map(x, width, [](float t) { return std::exp(-kDecayRate * logistic(t)); });
}

void masses(const float* x, std::int64_t width, float most, float sharpness, const float* margins,
            float* masses) {
  for (int j = 0; j < kMargins; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      const float below = (x[i] - most) * sharpness;
      if (below >= -margins[j]) sum += std::exp(below);
    }
    masses[j] = static_cast<float>(sum);
  }
}

void wkv(float* state, const float*, const float* r, const float* w, const float* k,
         const float* v, const float* alpha, const float* beta, float* y, std::int64_t n) {
  recur(state, r, w, k, v, alpha, beta, y, n);
}

void wkv_bf16(std::uint16_t* state, const std::uint16_t*, const float* r, const float* w,
              const float* k, const float* v, const float* alpha, const float* beta, float* y,
              std::int64_t n) {
  recur(state, r, w, k, v, alpha, beta, y, n);
}

}  // namespace goose::kernels::reference
