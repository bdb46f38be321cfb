// Dense weights of four bits in groups of 64 columns with a scale each (docs/engine.md).
#pragma once

#include <cstdint>
#include <string>

#include "engine/buffer.h"
#include "engine/tensors.h"
#include "kernels/kernels.h"

namespace goose::engine {

// As the file has them: M rows of K codes, of each group a size and a zero, a scale for each row.
struct GroupedRows {
  // Throws std::invalid_argument.
  GroupedRows(const Source& source, const std::string& name, std::int64_t M, std::int64_t K);

  int code(std::int64_t m, std::int64_t k) const {
    return codes[m * columns / 2 + k / 2] >> k % 2 * 4 & 15;
  }
  float weight(std::int64_t m, std::int64_t k) const;

  std::int64_t columns, groups;
  const std::uint8_t *codes, *sizes;
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
    table_.grouped(blocks_, x, y, groups_, from, to, ahead);
  }

 private:
  const kernels::Table& table_;
  std::int64_t groups_;
  const std::uint8_t* blocks_;
};

}  // namespace goose::engine
