#include "engine/grouped.h"

#include <cstring>
#include <stdexcept>

#include "engine/sizes.h"

namespace goose::engine {
namespace {

constexpr std::int64_t kColumnsPerGroup = 64;

// Codes of one row: a byte each, or of 64 columns those below 32 in the lower halves of 32 bytes.
void put_codes(const GroupedRows& rows, std::int64_t m, std::uint8_t* to) {
  for (std::int64_t k = 0; k < rows.columns; ++k) {
    const std::uint8_t code = rows.code(m, k);
    if (rows.bits == 8) {
      to[k] = code;
    } else {
      to[k / 64 * 32 + k % 32] |= static_cast<std::uint8_t>(k % 64 < 32 ? code : code << 4);
    }
  }
}

}  // namespace

GroupedRows::GroupedRows(const Source& source, const std::string& name, std::int64_t M,
                         std::int64_t K)
    : bits(source.get(name + ".weight").dtype == "U8" ? 4 : 8),
      columns(K),
      groups(divide_up(K, kColumnsPerGroup)) {
  if (bits == 4 && K % 2 != 0) {
    throw std::invalid_argument("matrix '" + name + "' has " + std::to_string(K) +
                                " columns of four bits: an even number is needed");
  }
  const Shape shape{M, bits == 4 ? K / 2 : K};
  codes = source.take<std::uint8_t>(name + ".weight", bits == 4 ? "U8" : "I8", shape);
  sizes = source.take<std::uint8_t>(name + ".groups", "U8", {M, groups, bits == 4 ? 2 : 1});
  scale = source.floats(name + ".scale", {M});
}

float GroupedRows::weight(std::int64_t m, std::int64_t k) const {
  const std::int64_t group = m * groups + k / kColumnsPerGroup;
  if (bits == 8) return scale[m] * sizes[group] * static_cast<std::int8_t>(code(m, k));
  return scale[m] * sizes[2 * group] * (code(m, k) - sizes[2 * group + 1] / kernels::kZeroes);
}

Grouped::Grouped(const Source& source, const std::string& name, std::int64_t M, std::int64_t K,
                 const kernels::Table& table, Arena& arena) {
  const GroupedRows rows(source, name, M, K);
  const std::int64_t R = kernels::kRows, per = rows.bits == 4 ? 2 : 1;
  const std::int64_t bytes = kernels::grouped_block(rows.bits, rows.groups);
  const std::int64_t codes = rows.groups * 8 * rows.bits;  // of a row
  auto* blocks = arena.take<std::uint8_t>(static_cast<std::size_t>(divide_up(M, R) * bytes));
  for (std::int64_t m = 0; m < M; ++m) {
    const std::int64_t r = m % R;
    std::uint8_t* block = blocks + m / R * bytes;
    std::uint8_t* sizes = block + R * codes + r * rows.groups * per;
    put_codes(rows, m, block + r * codes);
    for (std::int64_t g = 0; g < rows.groups * per; ++g) {
      sizes[g % per * rows.groups + g / per] = rows.sizes[m * rows.groups * per + g];
    }
    std::memcpy(block + R * (codes + rows.groups * per) + r * 4, rows.scale + m, sizeof(float));
  }
  groups_ = rows.groups;
  multiply_ = rows.bits == 4 ? table.grouped_4 : table.grouped_8;
  blocks_ = blocks;
}

}  // namespace goose::engine
