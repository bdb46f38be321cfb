// The product with the vocabulary, which reads more memory than all blocks together.
#pragma once

#include <cstdint>

#include "engine/buffer.h"
#include "engine/inputs.h"
#include "engine/matrix.h"
#include "engine/pool.h"

namespace goose::engine {

// Logits of int8 weights can be screened: a first pass reads only the upper four bits of every
// weight, a second one corrects the likely words. The others stay rough, off by about a tenth of what
// logits vary by: that much of a weight the lower bits are.
class Head {
 public:
  Head(Matrix matrix, const kernels::Table& table, Arena& arena);

  const Matrix& matrix() const { return matrix_; }

  // y (rows, V) of the rows in x. Words that together hold no more than `missed` of the probability
  // may be rough; 0 makes all exact, and 1 only those that could be the first.
  void multiply(Inputs& x, float* y, float missed, Pool& pool) const;

 private:
  // Rough logits; returns the deviation of their errors.
  float screen(const float* x, float* y, Pool& pool) const;
  void prefetch(std::int64_t row) const;
  void correct(const std::int16_t* x, float amplitude, float missed, float noise,
               float* y) const;

  Matrix matrix_;
  const kernels::Table& table_;
  std::int64_t width_;  // filled up to 64
  const std::uint8_t* nibbles_ = nullptr;
  float mean_scale_ = 0;
};

}  // namespace goose::engine
