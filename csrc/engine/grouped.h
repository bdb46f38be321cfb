// Dense weights of four or eight bits in groups of 64 columns with a scale each (docs/engine.md).
#pragma once

#include <cstdint>
#include <string>

#include "engine/buffer.h"
#include "engine/tensors.h"
#include "kernels/kernels.h"

namespace goose::engine {

// As the file has them: rows of `K` codes, `groups` bytes of each group, a scale for each row.
struct GroupedRows {
  // Of `name`, M x K. Throws std::invalid_argument.
  GroupedRows(const Source& source, const std::string& name, std::int64_t M, std::int64_t K);

  std::uint8_t code(std::int64_t m, std::int64_t k) const {
    if (bits == 8) return codes[m * columns + k];
    return codes[m * columns / 2 + k / 2] >> k % 2 * 4 & 15;
  }
  float weight(std::int64_t m, std::int64_t k) const;

  int bits;
  std::int64_t columns, groups;
  const std::uint8_t *codes, *sizes;  // of a group its size and, with four bits, its zero
  const float* scale;
};

// The same laid out for the kernels.
class Grouped {
 public:
  Grouped(const Source& source, const std::string& name, std::int64_t M, std::int64_t K,
          const kernels::Table& table, Arena& arena);

  // Rows [from, to) of y = W x.
  void multiply(const kernels::Octets& x, float* y, std::int64_t from, std::int64_t to,
                std::int32_t ahead) const {
    multiply_(blocks_, x, y, groups_, from, to, ahead);
  }

 private:
  std::int64_t groups_;
  decltype(kernels::Table::grouped_4) multiply_;
  const std::uint8_t* blocks_;
};

}  // namespace goose::engine
