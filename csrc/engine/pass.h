// Rows of tokens on their way through a model, and the memory they need on it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/buffer.h"
#include "engine/inputs.h"
#include "engine/model.h"
#include "engine/pool.h"
#include "engine/rotary.h"

namespace goose::engine {

// Part of a batch: tokens of one sequence, which are rows [row, row + count) of every buffer.
struct Piece {
  State* state;
  const std::int32_t* tokens;
  std::int64_t row, count;
  std::uint32_t* spikes;  // null where they are not asked for
};

// One at a time may run on a pass; several passes may share a model.
class Pass {
 public:
  static constexpr std::int64_t kMostRows = 64;

  explicit Pass(const Model& model)
      : model_(model),
        table_(model.table),
        inputs_(model.table),
        narrow_(model.table),
        coded_(model.table),
        rotary_(model.config, model.table) {}

  // Advances the states over the pieces; their rows (rows, D) before the last norm.
  const float* run(const std::vector<Piece>& pieces, Pool& pool);
  // Logits (rows, V) of such rows.
  void head(const float* x, const std::vector<Piece>& pieces, Rough rough, float* logits,
            Pool& pool);

 private:
  void begin(const std::vector<Piece>& pieces, Pool& pool);
  void tally(const Inputs& inputs, const Encoding& encoding, const Counts& counts) const;
  void reserve(std::int64_t rows);
  void embed(const std::vector<Piece>& pieces, std::int64_t rows);
  void norm(const Norm& norm, const float* x, std::int64_t rows, float* y);
  // As `norm`; without one the rows as they are.
  void norm_if(const std::optional<Norm>& norm, const float* x, std::int64_t rows, float* y);
  void add_half(const std::optional<Norm>& after, float* y, std::int64_t rows);
  void cap(float* logits, std::int64_t rows);
  void norm_all_heads(const float* gain, std::int64_t rows, float* x);
  void norm_and_turn(const float* gain, std::size_t layer, std::int64_t row, float* x) const;
  void mix(const Block& block, std::size_t layer, const std::vector<Piece>& pieces,
           std::int64_t rows);
  void values(const Mixer& mixer, std::size_t layer, const float* x,
              const std::vector<Piece>& pieces, std::int64_t rows);
  void shift_values(const float* mix, std::size_t layer, const std::vector<Piece>& pieces);
  void recur(const Mixer& mixer, std::size_t layer, const std::vector<Piece>& pieces);
  void recur_head(const Mixer& mixer, std::size_t layer, const Piece& piece, std::int64_t head,
                  float* out);
  void mlp(const Block& block, std::size_t layer, const std::vector<Piece>& pieces,
           std::int64_t rows);
  void activate(float* x, std::int64_t rows);
  const float* shifted(const float* x, const float* mix, const std::vector<Piece>& pieces,
                       std::size_t layer, bool channel);
  void low_rank(const LowRank& adapter, const float* x, std::int64_t rows,
                void (*activation)(float*, std::int64_t), float* y);
  void multiply(const Matrix& matrix, const float* x, std::int64_t rows, float* y);
  void each(std::int64_t rows, float* x, std::int64_t width,
            void (*function)(float*, std::int64_t));

  const Model& model_;
  const kernels::Table& table_;
  Pool* pool_ = nullptr;
  std::vector<Piece> tallied_;  // pieces that ask for their spikes
  Inputs inputs_, narrow_, coded_;  // of matrices, between low-rank factors, of sites without one
  Rotary rotary_;
  const float* inputs_of_ = nullptr;  // null where their contents have changed
  Buffer<float> x_, normed_, shifted_, mixed_, r_, w_, k_, v_, a_, g_, y_, first_, low_, middle_, up_,
      branch_;
};

}  // namespace goose::engine
