// The product with the vocabulary, which reads more memory than all blocks together.
#pragma once

#include <cstdint>

#include "engine/buffer.h"
#include "engine/inputs.h"
#include "engine/matrix.h"
#include "engine/pool.h"

namespace goose::engine {

// What of the logits may be rough: words that together hold no more than `missed` of the probability
// at `temperature`. 0 makes all exact, and 1 only those that could be the first.
struct Rough {
  float missed = 0;
  float temperature = 1;
};

// Logits of int8 weights can be screened: a first pass reads four bits of every weight, a second one
// corrects the likely words. The four bits are those of the rotated rows (block-Hadamard of 64), whose
// numbers are spread alike: sixteen levels then leave out a tenth of what logits vary by.
class Head {
 public:
  Head(Matrix matrix, const kernels::Table& table, Arena& arena);

  const Matrix& matrix() const { return matrix_; }

  // y (rows, V) of the rows in x.
  void multiply(Inputs& x, float* y, Rough rough, Pool& pool) const;

 private:
  void take_levels(Arena& arena);
  // Rough logits of all rows; their errors' deviations, row by row, in `noise`.
  void screen(const float* x, std::int64_t rows, float* y, float* noise, Pool& pool) const;
  void prefetch(std::int64_t row) const;
  void correct(const std::int16_t* x, float amplitude, Rough rough, float noise, float* y) const;

  Matrix matrix_;
  const kernels::Table& table_;
  std::int64_t width_;  // filled up to 64
  const std::uint8_t* levels_ = nullptr;
  const float* level_scale_ = nullptr;
  float error_ = 0;  // deviation of what the levels leave out of a rotated weight
};

}  // namespace goose::engine
