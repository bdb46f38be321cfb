// Rotary positions: the angles of a call, the same for all heads and for layers of one base.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/buffer.h"
#include "engine/config.h"
#include "kernels/kernels.h"

namespace goose::engine {

class Rotary {
 public:
  Rotary(const Config& config, const kernels::Table& table);

  // Tables for so many rows; then the position of each is told.
  void begin(std::int64_t rows);
  void place(std::int64_t row, std::int64_t position);
  // Turns pairs (i, i + n/2) of the first n channels of a head by position * base^(-2i/n), where the
  // layer does.
  void turn(std::size_t layer, std::int64_t row, float* x) const;

 private:
  float* cosines(std::int64_t base, std::int64_t row) const {
    return turns_.data() + (base * rows_ + row) * 2 * half_;
  }

  const kernels::Table& table_;
  std::int64_t half_, rows_ = 0;
  std::vector<std::int64_t> base_of_;  // by layer; -1 where it does not turn
  std::vector<float> frequencies_;  // by base
  Buffer<float> turns_;  // by base and row: cosines, then sines
};

}  // namespace goose::engine
