// Norms, activations and the WKV-7 step of every instruction set; kernels.h says what they do.
#pragma once

#include "kernels/kernels.h"

#define GOOSE_VECTORS(isa)                                                                       \
  namespace goose::kernels::isa {                                                                \
  void rms_norm(const float* x, const float* weight, float eps, float* y, std::int64_t width);   \
  void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* y,   \
                  std::int64_t width);                                                           \
  void add(float* x, const float* y, std::int64_t width);                                        \
  void multiply(float* x, const float* y, std::int64_t width);                                   \
  void blend(float* x, const float* y, const float* share, std::int64_t width);                  \
  void scale(const std::int32_t* x, const float* scale, float amplitude, bool first, bool last,  \
             float* y, std::int64_t width);                                                      \
  float delta(const float* r, const float* k, const float* a, const float* removal,              \
              const float* replacement, const float* bonus, float least, float* alpha,           \
              float* beta, float* written, std::int64_t n);                                      \
  void gate(const float* x, float score, const float* v, float plus, const float* gate,          \
            float* y, std::int64_t n);                                                           \
  void turn(float* x, const float* cosine, const float* sine, std::int64_t n);                   \
  void shift(const float* x, const float* last, const float* mix, float* y, std::int64_t width); \
  void sigmoid(float* x, std::int64_t width);                                                    \
  void tanh(float* x, std::int64_t width);                                                       \
  void silu(float* x, std::int64_t width);                                                       \
  void gelu(float* x, std::int64_t width);                                                       \
  void gelu_tanh(float* x, std::int64_t width);                                                  \
  void relu(float* x, std::int64_t width);                                                       \
  void square(float* x, std::int64_t width);                                                     \
  void decay(float* x, std::int64_t width);                                                      \
  void masses(const float* x, std::int64_t width, float most, float sharpness,                   \
              const float* margins, float* masses);                                              \
  void wkv(float* state, const float* next, const float* r, const float* w, const float* k,      \
           const float* v, const float* alpha, const float* beta, float* y, std::int64_t n);     \
  void wkv_bf16(std::uint16_t* state, const std::uint16_t* next, const float* r, const float* w, \
                const float* k, const float* v, const float* alpha, const float* beta, float* y, \
                std::int64_t n);                                                                 \
  }

GOOSE_VECTORS(reference)
GOOSE_VECTORS(baseline)
GOOSE_VECTORS(avx2)
GOOSE_VECTORS(avx512)

#undef GOOSE_VECTORS
