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

// y (tokens, rows) = amplitude[token] * sum over planes of scale[plane, row] * exact integer. The
// matrix has one scale a row.
struct Product {
  Planes matrix;
  std::int64_t tokens;
  std::int32_t top;
  const std::uint8_t* levels;
  const float* amplitude;
  float* y;
};

// dvalues (tokens, columns) = dy (tokens, rows) times such a matrix.
struct ProductBack {
  Planes matrix;
  std::int64_t tokens;
  const float* dy;
  float* dvalues;
};

// y (tokens, heads, size) = x with the pairs (n, n + half) of every head turned by its token's angles,
// whose cosines and sines are (tokens, half), or back by them; what lies behind the pairs stays.
struct Turn {
  std::int64_t tokens, heads, size, half;
  bool back;
  const float *cos, *sin, *x;
  float* y;
};

// Keys k and rates a (tokens, heads, size) of RWKV-7; removal and replacement are (heads, size), and
// size is a multiple of 16. kappa = k removal / max(|k removal|, least) for every head, alpha = -kappa,
// beta = kappa a, written = k (1 + (a - 1) replacement).
struct Keys {
  std::int64_t tokens, heads, size;
  float least;
  const float *k, *a, *removal, *replacement;
};

struct KeyOutputs {
  float *kappa, *alpha, *beta, *written;
};

// Of the outputs, null where there is none, and of the inputs.
struct KeyGradients {
  const float *kappa, *alpha, *beta, *written;
  float *dk, *da, *dremoval, *dreplacement;
};

// y = x weight / sqrt(mean of x^2 + eps) of every token, columns a multiple of 16.
struct Norm {
  std::int64_t tokens, columns;
  float eps;
  const float *x, *weight;
};

// dweight is the sum of parts (blocks, columns) of kNormBlock tokens each, so that it does not depend
// on the threads.
constexpr std::int64_t kNormBlock = 32;
struct NormGradients {
  const float* dy;
  float *dx, *dweight, *parts;
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

// A product in two parts: codes become places in tables of sums (product.cpp), kGroup of the numbers
// that are summed at a time, kPlaces for each output; then blocks of tokens, with scratch.
template <class P>
struct Tables {
  std::int64_t block;  // tokens
  void (*places)(const P&, std::int64_t group, std::uint16_t* places);
  std::int64_t (*bytes)(const P&);  // of scratch
  void (*block_of)(const P&, const std::uint16_t* places, std::int64_t block, void* scratch);
};

constexpr std::int64_t kGroup = 32, kPlaces = kGroup / 4;
constexpr std::int64_t groups_of(std::int64_t summed) { return (summed + kGroup - 1) / kGroup; }

struct Kernel {
  // One row of a matrix, one token of the others; `floats` is scratch for one token.
  void (*quantise)(const float* weight, float factor, const Planes&, std::int64_t row);
  void (*dense)(const Planes&, std::int64_t row, float* out);
  void (*code)(const Coding&, const float* x, const Coded&, std::int64_t token);
  void (*code_back)(const Coding&, const std::uint8_t* passes, const float* dvalues, float* dx,
                    std::int64_t token);
  // values = amplitude * integer, as `code` gave them.
  void (*values)(const Coding&, const Coded&, std::int64_t token);
  Tables<Product> product;
  Tables<ProductBack> product_back;
  void (*turn)(const Turn&, std::int64_t token);
  void (*delta_keys)(const Keys&, const KeyOutputs&, std::int64_t head);
  void (*delta_keys_back)(const Keys&, const KeyGradients&, std::int64_t head);
  void (*norm)(const Norm&, float* y, std::int64_t token);
  void (*norm_back)(const Norm&, const NormGradients&, std::int64_t block);
  void (*divergence)(const Divergence&, std::int64_t token);
  void (*top_divergence)(const Divergence&, std::int64_t token);
};

// On the selected instruction set, spread over at most `threads` threads; results do not depend on
// their number. One plane codes where |w| > factor * mean |w|, the second what the first leaves over.
void quantise(const float* weight, float factor, const Planes&, int threads);
void dense(const Planes&, float* out, int threads);
// out = x turned by the block-Hadamard transform of kernels.h, token by token.
void rotate(const float* x, float* out, std::int64_t tokens, std::int64_t columns, int threads);
void code(const Coding&, const float* x, const Coded&, int threads);
void code_back(const Coding&, const std::uint8_t* passes, const float* dvalues, float* dx,
               int threads);
void values(const Coding&, const Coded&, int threads);
void product(const Product&, int threads);
void product_back(const ProductBack&, int threads);
void turn(const Turn&, int threads);
void delta_keys(const Keys&, const KeyOutputs&, int threads);
void delta_keys_back(const Keys&, const KeyGradients&, int threads);
void norm(const Norm&, float* y, int threads);
void norm_back(const Norm&, const NormGradients&, int threads);  // parts are made here
void divergence(const Divergence&, int threads);

}  // namespace goose::train

#define GOOSE_TRAIN(isa)                                                                         \
  namespace goose::train::isa {                                                                  \
  extern const Tables<Product> product;                                                          \
  extern const Tables<ProductBack> product_back;                                                 \
  void quantise(const float*, float, const Planes&, std::int64_t);                               \
  void dense(const Planes&, std::int64_t, float*);                                               \
  void code(const Coding&, const float*, const Coded&, std::int64_t);                            \
  void code_back(const Coding&, const std::uint8_t*, const float*, float*, std::int64_t);        \
  void values(const Coding&, const Coded&, std::int64_t);                                        \
  void turn(const Turn&, std::int64_t);                                                          \
  void delta_keys(const Keys&, const KeyOutputs&, std::int64_t);                                 \
  void delta_keys_back(const Keys&, const KeyGradients&, std::int64_t);                          \
  void norm(const Norm&, float*, std::int64_t);                                                  \
  void norm_back(const Norm&, const NormGradients&, std::int64_t);                               \
  void divergence(const Divergence&, std::int64_t);                                              \
  void top_divergence(const Divergence&, std::int64_t);                                          \
  }

GOOSE_TRAIN(reference)
GOOSE_TRAIN(baseline)
GOOSE_TRAIN(avx2)
GOOSE_TRAIN(avx512)

#undef GOOSE_TRAIN
