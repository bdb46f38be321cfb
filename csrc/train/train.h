// What a training step does beside its dense products, each in one pass over memory. What comes in:
// addresses of whole contiguous tensors and their sizes; what goes out: numbers in memory that the
// caller owns; what never happens here: checks of shapes, which Python makes.
//
// Integers are those of PyTorch's formulas to the last one: sums over a row are taken in fp64 and
// rounded once, so that their order does not matter, and what decides about integers is compiled
// without contraction of products and sums.
#pragma once

#include <cstdint>

namespace goose::train {

// A matrix as `planes` (1 or 2) ternary planes: codes (planes, rows, columns), scales (planes, rows,
// columns / group). Columns and group are multiples of 16.
struct Planes {
  std::int64_t rows, columns, group;
  std::int32_t planes;
  std::int8_t* codes;
  float* scales;
};

// How tokens (rows of `columns` numbers, a multiple of 16; of 64 to be rotated) become integers of at
// most `top`, by kernels.h's rule for `steps` steps.
struct Coding {
  std::int64_t tokens, columns;
  bool rotate;
  std::int32_t steps, top;
  float threshold;
};

// Coded tokens: levels are integers + top, so none is below zero; amplitude is one number a token;
// `passes` is 1 where a gradient does; values are amplitude * integer, in the basis of the integers.
// A token that is not finite has an amplitude that is none.
struct Coded {
  std::uint8_t *levels, *passes;
  float *amplitude, *values;
};

// y (tokens, rows) = amplitude[token] * sum over planes of scale[plane, row] * exact integer.
struct Product {
  std::int64_t tokens, columns, rows;
  std::int32_t planes, top;
  const std::uint8_t* levels;
  const float* amplitude;
  const std::int8_t* codes;
  const float* scales;  // planes, rows
  float* y;
};

// Student's logits (tokens, words) against a teacher's: KL times tau^2, its value and its slope for
// the student's logits. The teacher is all its logits, or the log-probabilities at tau of its top
// words (tokens, top) and of the rest (tokens); `least` is what the student's rest counts as at least.
struct Divergence {
  std::int64_t tokens, words, top;
  float tau, least;
  const float *student, *teacher;
  const std::int64_t* ids;
  const float *log_p, *log_rest;
  float *values, *slope;
};

struct Kernel {
  // One row of a matrix, one token of the others; `floats` is scratch for one token.
  void (*quantise)(const float* weight, float factor, const Planes&, std::int64_t row);
  void (*dense)(const Planes&, std::int64_t row, float* out);
  void (*code)(const Coding&, const float* x, const Coded&, std::int64_t token);
  void (*code_back)(const Coding&, const std::uint8_t* passes, const float* dvalues, float* dx,
                    std::int64_t token);
  // Rows panel * panel_rows and up, for all tokens; scratch is panel_bytes(columns) long.
  void (*product)(const Product&, std::int64_t panel, std::int8_t* scratch);
  std::int64_t panel_rows;
  void (*divergence)(const Divergence&, std::int64_t token);
  void (*top_divergence)(const Divergence&, std::int64_t token);
};

constexpr std::int64_t panel_bytes(const Kernel& kernel, std::int64_t columns) {
  return kernel.panel_rows * columns;
}

// On the selected instruction set, spread over at most `threads` threads; results do not depend on
// their number. One plane codes where |w| > factor * mean |w|, the second what the first leaves over.
void quantise(const float* weight, float factor, const Planes&, int threads);
void dense(const Planes&, float* out, int threads);
// out = x turned by the block-Hadamard transform of kernels.h, token by token.
void rotate(const float* x, float* out, std::int64_t tokens, std::int64_t columns, int threads);
void code(const Coding&, const float* x, const Coded&, int threads);
void code_back(const Coding&, const std::uint8_t* passes, const float* dvalues, float* dx,
               int threads);
void product(const Product&, int threads);
void divergence(const Divergence&, int threads);

}  // namespace goose::train

#define GOOSE_TRAIN(isa)                                                                         \
  namespace goose::train::isa {                                                                  \
  extern const std::int64_t panel_rows;                                                          \
  void quantise(const float*, float, const Planes&, std::int64_t);                               \
  void dense(const Planes&, std::int64_t, float*);                                               \
  void code(const Coding&, const float*, const Coded&, std::int64_t);                            \
  void code_back(const Coding&, const std::uint8_t*, const float*, float*, std::int64_t);        \
  void product(const Product&, std::int64_t, std::int8_t*);                                      \
  void divergence(const Divergence&, std::int64_t);                                              \
  void top_divergence(const Divergence&, std::int64_t);                                          \
  }

GOOSE_TRAIN(reference)
GOOSE_TRAIN(baseline)
GOOSE_TRAIN(avx2)
GOOSE_TRAIN(avx512)

#undef GOOSE_TRAIN
