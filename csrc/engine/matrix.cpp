#include "engine/matrix.h"

#include <algorithm>
#include <stdexcept>

#include "engine/config.h"
#include "engine/sizes.h"

namespace goose::engine {
namespace {

constexpr std::int64_t kRowsPerItem = 256;  // of a dense matrix; a task of some microseconds

// The first of the rows that share weights finds them in memory, and asks for what comes next.
std::int32_t ahead(std::int64_t row) { return row == 0 ? kernels::kAhead : 0; }

// Rows of a function that gives w[m,k], filled up with zeros to whole lines of 64 columns and to
// groups of rows (kernels.h).
template <class Weight, class Get>
const Weight* filled_up(Arena& arena, std::int64_t M, std::int64_t K, const Get& get) {
  const std::int64_t width = Inputs::stride(K);
  const std::int64_t height = round_up(M, kernels::kRows);
  auto* to = arena.take<Weight>(static_cast<std::size_t>(height * width));
  for (std::int64_t m = 0; m < M; ++m) {
    for (std::int64_t k = 0; k < K; ++k) to[m * width + k] = get(m, k);
  }
  return to;
}

template <class Weight>
const Weight* filled_up(Arena& arena, std::int64_t M, std::int64_t K, const Weight* w) {
  return filled_up<Weight>(arena, M, K,
                           [=](std::int64_t m, std::int64_t k) { return w[m * K + k]; });
}

}  // namespace

Matrix::Matrix(const Source& source, const std::string& name, std::int64_t M, std::int64_t K,
               const kernels::Table& table, Arena& arena)
    : name_(name), M_(M), K_(K), table_(&table), bias_(source.floats_or_none(name + ".bias", {M})) {
  if (K < 1 || M < 1 || K > kMostColumns) {
    throw std::invalid_argument("matrix '" + name + "' is " + std::to_string(M) + " x " +
                                std::to_string(K) + ": at most 65536 columns are possible");
  }
  if (source.has(name + ".planes")) {
    read_ternary(source, table, arena);
  } else {
    read_dense(source, table, arena);
  }
}

void Matrix::read_dense(const Source& source, const kernels::Table& table, Arena& arena) {
  encoding_ = source.encoding(name_, K_, Inputs::stride(K_));
  const std::string tensor = name_ + ".weight";
  const std::string& dtype = source.get(tensor).dtype;
  if (dtype == "U8" || source.has(name_ + ".groups")) {
    format_ = Format::grouped;
    grouped_.emplace(source, name_, M_, K_, table, arena);
  } else if (dtype == "I8") {
    format_ = Format::i8;
    weight_ = filled_up(arena, M_, K_, source.take<std::int8_t>(tensor, "I8", {M_, K_}));
    scale_ = source.floats(name_ + ".scale", {M_});
  } else if (dtype == "F32") {
    format_ = Format::f32;
    weight_ = filled_up(arena, M_, K_, source.floats(tensor, {M_, K_}));
  } else {
    format_ = Format::f16;
    weight_ = filled_up(arena, M_, K_, source.take<std::uint16_t>(tensor, "F16", {M_, K_}));
  }
}

void Matrix::read_ternary(const Source& source, const kernels::Table& table, Arena& arena) {
  const Shape found = source.get(name_ + ".planes").shape;
  const std::int64_t P = found.empty() ? 0 : found[0], units = divide_up(M_, 64);
  const Shape scales = source.get(name_ + ".scale").shape;
  const std::int64_t groups = scales.size() > 1 ? scales[1] : 0;
  if (P < 1 || P > 2) {
    throw std::invalid_argument("tensor '" + name_ + ".planes' holds " + std::to_string(P) +
                                " planes: 1 or 2 are possible");
  }
  if (groups < 1 || (groups > 1 && (K_ % groups != 0 || K_ / groups % kColumns != 0))) {
    throw std::invalid_argument("tensor '" + name_ + ".scale' has " + std::to_string(groups) +
                                " groups for " + std::to_string(K_) +
                                " columns: a group holds a multiple of 64");
  }
  // Scales for two planes where there is one: those of its +1 and of its -1.
  const bool sides = P == 1 && scales[0] == 2;
  const auto* planes = source.take<std::uint64_t>(name_ + ".planes", "U64", {P, units, K_, 2});
  scale_ = source.floats(name_ + ".scale", {sides ? 2 : P, groups, M_});
  encoding_ = source.encoding(name_, K_, groups == 1 ? Inputs::stride(K_) : K_ / groups);
  if (encoding_.spikes()) {
    format_ = Format::ternary;
    ternary_.emplace(planes, scale_, P, M_, K_, groups, sides, table, arena);
  } else {
    format_ = Format::ternary_dense;
    spread_planes(planes, P, groups, sides, arena);
  }
}

void Matrix::spread_planes(const std::uint64_t* planes, std::int64_t P, std::int64_t groups,
                           bool sides, Arena& arena) {
  const std::int64_t units = divide_up(M_, 64);
  piece_width_ = K_ / groups;
  for (std::int64_t piece = 0; piece < (sides ? 2 : P); ++piece) {
    const std::int64_t p = sides ? 0 : piece;
    for (std::int64_t g = 0; g < groups; ++g) {
      const auto weight = [&](std::int64_t m, std::int64_t k) {
        const std::uint64_t* word =
            planes + ((p * units + m / 64) * K_ + g * piece_width_ + k) * 2;
        const bool plus = word[0] >> (m % 64) & 1, set = word[1] >> (m % 64) & 1;
        const bool left_out = sides && plus == (piece == 1);
        return static_cast<std::int8_t>(set && !left_out ? (plus ? 1 : -1) : 0);
      };
      pieces_.push_back(filled_up<std::int8_t>(arena, M_, piece_width_, weight));
    }
  }
}

void Matrix::multiply(Inputs& x, float* y, Pool& pool) const {
  if (format_ == Format::ternary) {
    multiply_spikes(x, y, pool);
  } else if (format_ == Format::ternary_dense) {
    multiply_spread(x, y, pool);
  } else {
    multiply_dense(x, y, pool);
  }
  counts_.add(x.rows(), encoding_.spikes() ? x.active() : 0);
  add_bias(x.rows(), y);
}

void Matrix::multiply_spikes(Inputs& x, float* y, Pool& pool) const {
  const Ternary& ternary = *ternary_;
  const kernels::Spikes* spikes = x.spikes(encoding_, pool);
  // Few items, so that a segment is read once for all rows where there are enough segments.
  const std::int64_t split = ternary.parts() >= 2 * pool.threads() ? 1 : pool.threads();
  const std::int64_t block = divide_up(x.rows(), std::min(split, x.rows()));
  const std::int64_t blocks = divide_up(x.rows(), block);
  pool.each(ternary.parts() * blocks, [&](int, std::int64_t item) {
    const std::int64_t part = item / blocks, first = item % blocks * block;
    for (std::int64_t row = first; row < std::min(first + block, x.rows()); ++row) {
      ternary.multiply(part, encoding_.encoder, spikes[row], y + row * M_, row == first);
    }
  });
}

// Calls product(row, from, to) for all rows of x and of the matrix.
template <class Product>
void Matrix::in_blocks(std::int64_t rows, Pool& pool, const Product& product) const {
  pool.each(divide_up(M_, kRowsPerItem), [&](int, std::int64_t item) {
    // Small blocks of weights stay in the first cache for all vectors.
    const std::int64_t end = std::min(M_, (item + 1) * kRowsPerItem);
    const std::int64_t block = rows == 1 ? kRowsPerItem : 8;
    for (std::int64_t from = item * kRowsPerItem; from < end; from += block) {
      for (std::int64_t row = 0; row < rows; ++row) product(row, from, std::min(end, from + block));
    }
  });
}

void Matrix::multiply_dense(Inputs& x, float* y, Pool& pool) const {
  const std::int64_t stride = Inputs::stride(K_), rows = x.rows();
  if (format_ == Format::grouped) {
    x.make_octets(encoding_, pool);
    in_blocks(rows, pool, [&](std::int64_t row, std::int64_t from, std::int64_t to) {
      grouped_->multiply(x.octets(row), y + row * M_, from, to, ahead(row));
    });
  } else if (format_ == Format::i8) {
    const Inputs::Rounded rounded = x.rounded(encoding_, pool);
    in_blocks(rows, pool, [&](std::int64_t row, std::int64_t from, std::int64_t to) {
      table_->dense_i8(static_cast<const std::int8_t*>(weight_), scale_, rounded.x + row * stride,
                       rounded.amplitude[row], y + row * M_, stride, from, to, ahead(row));
    });
  } else {
    const float* analogue = x.analogue(encoding_, pool);
    in_blocks(rows, pool, [&](std::int64_t row, std::int64_t from, std::int64_t to) {
      const float* columns = analogue + row * stride;
      if (format_ == Format::f16) {
        table_->dense_f16(static_cast<const std::uint16_t*>(weight_), columns, y + row * M_,
                          stride, from, to, ahead(row));
      } else {
        table_->dense_f32(static_cast<const float*>(weight_), columns, y + row * M_, stride, from,
                          to, ahead(row));
      }
    });
  }
}

void Matrix::multiply_spread(Inputs& x, float* y, Pool& pool) const {
  const std::int64_t stride = Inputs::stride(K_), groups = K_ / piece_width_;
  const Inputs::Rounded rounded = x.rounded(encoding_, pool);
  pool.each(divide_up(M_, kRowsPerItem), [&](int, std::int64_t item) {
    const std::int64_t from = item * kRowsPerItem, to = std::min(M_, from + kRowsPerItem);
    Buffer<float> part(static_cast<std::size_t>(M_));
    for (std::int64_t row = 0; row < x.rows(); ++row) {
      std::fill(y + row * M_ + from, y + row * M_ + to, 0.0F);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(pieces_.size()); ++i) {
        const std::int16_t* columns = rounded.x + row * stride + i % groups * piece_width_;
        table_->dense_i8(pieces_[static_cast<std::size_t>(i)], scale_ + i * M_, columns,
                         rounded.amplitude[row], part.data(), Inputs::stride(piece_width_),
                         from, to, 0);
        for (std::int64_t m = from; m < to; ++m) y[row * M_ + m] += part.data()[m];
      }
    }
  });
}

void Matrix::add_bias(std::int64_t rows, float* y) const {
  if (bias_ == nullptr) return;
  for (std::int64_t row = 0; row < rows; ++row) table_->add(y + row * M_, bias_, M_);
}

}  // namespace goose::engine
