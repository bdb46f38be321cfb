// A ternary matrix under spikes, laid out for the instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/buffer.h"
#include "kernels/kernels.h"

namespace goose::engine {

// Bit planes in the order of the instruction set: for every plane the segments of all rows.
class Ternary {
 public:
  // planes [P, ceil(M/64), K, 2] and scale [P, G, M] as in the packed file (docs/engine.md); with
  // `sides` one plane whose +1 and -1 have a scale each: scale [2, G, M].
  Ternary(const std::uint64_t* planes, const float* scale, std::int64_t P, std::int64_t M,
          std::int64_t K, std::int64_t groups, bool sides, const kernels::Table& table,
          Arena& arena);

  struct Part {
    std::int64_t from, rows;  // of the matrix; `rows` counts only real ones
    kernels::Segment segment;
  };
  std::int64_t parts() const { return static_cast<std::int64_t>(rows_.size()); }
  std::int64_t groups() const { return groups_; }

  // Rows of part `part`: y = amplitude * sum over planes and groups of scale * integer.
  void multiply(std::int64_t part, const kernels::Encoder&, const kernels::Spikes&, float* y,
                std::int32_t ahead) const;

 private:
  void fill(const Part& part, const std::uint64_t* plane, std::int64_t K, std::uint64_t* to) const;

  void multiply_sides(const Part& rows, const kernels::Spikes&, const std::int32_t* worth,
                      std::int32_t steps, float* y, std::int32_t ahead) const;

  std::int64_t planes_, M_, groups_;
  bool sides_;
  const float* scale_;
  const kernels::Table& table_;
  std::vector<Part> rows_;  // of the first plane
  std::int64_t plane_words_ = 0;
};

}  // namespace goose::engine
