// A ternary matrix under spikes, laid out for the instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/buffer.h"
#include "kernels/kernels.h"

namespace goose::engine {

// Bit planes in the order of the instruction set: segment after segment, each in all planes.
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

  // Rows of part `part`: y = amplitude * sum over planes and groups of scale * integer. `ahead`
  // where the weights come from memory: what is read next is then asked for.
  void multiply(std::int64_t part, const kernels::Encoder&, const kernels::Spikes&, float* y,
                bool ahead) const;

 private:
  void fill(const Part& part, const std::uint64_t* plane, std::int64_t K, std::uint64_t* to) const;
  kernels::Segment segment(std::size_t part, std::int64_t plane, bool ahead) const;
  void multiply_sides(std::size_t part, const kernels::Spikes&, const std::int32_t* worth,
                      std::int32_t steps, float* y, bool ahead) const;

  std::int64_t planes_, M_, groups_;
  bool sides_;
  const float* scale_;
  const kernels::Table& table_;
  std::int64_t columns_;
  std::vector<Part> rows_;  // of the first plane; the others follow at once
};

}  // namespace goose::engine
