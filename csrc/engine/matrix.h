// A matrix of the model in whatever format the packed file holds it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/buffer.h"
#include "engine/counts.h"
#include "engine/grouped.h"
#include "engine/inputs.h"
#include "engine/pool.h"
#include "engine/tensors.h"
#include "engine/ternary.h"
#include "kernels/kernels.h"

namespace goose::engine {

class Matrix {
 public:
  // Copies `name`.* of the source, M x K, into the arena. Throws std::invalid_argument.
  Matrix(const Source& source, const std::string& name, std::int64_t M, std::int64_t K,
         const kernels::Table& table, Arena& arena);
  Matrix(Matrix&&) = default;

  // y (rows, M), bias included.
  void multiply(Inputs& x, float* y, Pool& pool) const;

  const std::string& name() const { return name_; }
  std::int64_t height() const { return M_; }
  std::int64_t width() const { return K_; }
  const Encoding& encoding() const { return encoding_; }

  // Where it is stored as int8 with a scale per row: its rows, filled up to 64 columns, and scales. Null otherwise.
  const std::int8_t* rows() const {
    return format_ == Format::i8 ? static_cast<const std::int8_t*>(weight_) : nullptr;
  }
  const float* scale() const { return scale_; }

  const Counts& counts() const { return counts_; }

 private:
  enum class Format { f32, f16, i8, grouped, ternary, ternary_dense };

  void read_dense(const Source& source, const kernels::Table& table, Arena& arena);
  void read_ternary(const Source& source, const kernels::Table& table, Arena& arena);
  void spread_planes(const std::uint64_t* planes, std::int64_t P, std::int64_t groups, bool sides,
                     Arena& arena);
  template <class Product>
  void in_blocks(std::int64_t rows, Pool& pool, const Product& product) const;
  void multiply_dense(Inputs& x, float* y, Pool& pool) const;
  void multiply_spread(Inputs& x, float* y, Pool& pool) const;
  void multiply_spikes(Inputs& x, float* y, Pool& pool) const;
  void add_bias(std::int64_t rows, float* y) const;

  std::string name_;
  std::int64_t M_, K_;
  Counts counts_;
  const kernels::Table* table_;
  Format format_;
  Encoding encoding_;
  const void* weight_ = nullptr;
  const float *scale_ = nullptr, *bias_ = nullptr;
  std::optional<Ternary> ternary_;
  std::optional<Grouped> grouped_;
  // Ternary weights under analogue input: one int8 matrix per plane and group, side by side.
  std::vector<const std::int8_t*> pieces_;
  std::int64_t piece_width_ = 0;
};

}  // namespace goose::engine
