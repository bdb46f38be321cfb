#include "engine/grouped.h"

#include <cstring>
#include <stdexcept>

#include "engine/sizes.h"

namespace goose::engine {
namespace {

// Row m into its block: kernels.h says where everything stands.
void put_row(const GroupedRows& rows, std::int64_t m, std::uint8_t* block) {
  const std::int64_t R = kernels::kRows, r = m % R, groups = rows.groups;
  for (std::int64_t k = 0; k < rows.columns; ++k) {
    const int code = rows.code(m, k) << (k % kColumns < 32 ? 0 : 4);
    block[(k / kColumns * R + r) * 32 + k % 32] |= static_cast<std::uint8_t>(code);
  }
  std::uint8_t* sizes = block + (R * 32 + 2 * r) * groups;
  for (std::int64_t g = 0; g < groups; ++g) {
    sizes[g] = rows.sizes[2 * (m * groups + g)];
    sizes[groups + g] = rows.sizes[2 * (m * groups + g) + 1];
  }
  std::memcpy(block + R * 34 * groups + 4 * r, rows.scale + m, sizeof(float));
}

}  // namespace

GroupedRows::GroupedRows(const Source& source, const std::string& name, std::int64_t M,
                         std::int64_t K)
    : columns(K), groups(divide_up(K, kColumns)) {
  if (K % 2 != 0) {
    throw std::invalid_argument("matrix '" + name + "' has " + std::to_string(K) +
                                " columns of four bits: an even number is needed");
  }
  codes = source.take<std::uint8_t>(name + ".weight", "U8", {M, K / 2});
  sizes = source.take<std::uint8_t>(name + ".groups", "U8", {M, groups, 2});
  scale = source.floats(name + ".scale", {M});
}

float GroupedRows::weight(std::int64_t m, std::int64_t k) const {
  const std::uint8_t* group = sizes + 2 * (m * groups + k / kColumns);
  return scale[m] * group[0] * (static_cast<float>(code(m, k)) - group[1] / kernels::kZeroes);
}

Grouped::Grouped(const Source& source, const std::string& name, std::int64_t M, std::int64_t K,
                 const kernels::Table& table, Arena& arena)
    : table_(table) {
  const GroupedRows rows(source, name, M, K);
  const std::int64_t bytes = kernels::grouped_block(rows.groups);
  const std::int64_t blocks = divide_up(M, kernels::kRows);
  auto* to = arena.take<std::uint8_t>(static_cast<std::size_t>(blocks * bytes));
  for (std::int64_t m = 0; m < M; ++m) put_row(rows, m, to + m / kernels::kRows * bytes);
  groups_ = rows.groups;
  blocks_ = to;
}

}  // namespace goose::engine
