#include "engine/pass_rows.h"

#include <algorithm>
#include <cstring>

namespace goose::engine {

const float* Pass::run(const std::vector<Piece>& pieces, Pool& pool) {
  begin(pieces, pool);
  const std::int64_t rows = pieces.back().row + pieces.back().count;
  const std::int64_t D = model_.config.width;
  reserve(rows);
  embed(pieces, rows);
  for (std::size_t layer = 0; layer < model_.blocks.size(); ++layer) {
    const Block& block = model_.blocks[layer];
    norm_if(block.mixer_norm, x_.data(), rows, normed_.data());
    mix(block, layer, pieces, rows);
    if (model_.config.parallel) {  // the MLP reads what the mixer has read
      std::memcpy(branch_.data(), y_.data(), sizeof(float) * size(rows * D));
    } else {
      add_half(block.mixer_after, y_.data(), rows);
    }
    norm_if(block.mlp_norm, x_.data(), rows, normed_.data());
    mlp(block, layer, pieces, rows);
    if (model_.config.parallel) add_half(block.mixer_after, branch_.data(), rows);
    add_half(block.mlp_after, y_.data(), rows);
  }
  return x_.data();
}

void Pass::head(const float* x, const std::vector<Piece>& pieces, Rough rough, float* logits,
                Pool& pool) {
  begin(pieces, pool);
  const std::int64_t rows = pieces.back().row + pieces.back().count;
  norm(model_.final_norm, x, rows, normed_.data());
  inputs_.set(normed_.data(), rows, model_.config.width);
  // What is rough before it is bounded would hold more of the probability after it.
  const bool bounded = model_.config.logit_cap > 0;
  model_.head->multiply(inputs_, logits, bounded ? Rough{} : rough, pool);
  if (bounded) cap(logits, rows);
  const Matrix& matrix = model_.head->matrix();
  tally(inputs_, matrix.encoding(), matrix.counts());
}

void Pass::begin(const std::vector<Piece>& pieces, Pool& pool) {
  pool_ = &pool;
  tallied_.clear();
  for (const Piece& piece : pieces) {
    if (piece.spikes != nullptr) tallied_.push_back(piece);
  }
}

// Adds the spikes of the last encoding to the pieces that ask for them.
void Pass::tally(const Inputs& inputs, const Encoding& encoding, const Counts& counts) const {
  if (tallied_.empty() || !encoding.spikes()) return;
  for (const Piece& piece : tallied_) {
    for (std::int64_t row = piece.row; row < piece.row + piece.count; ++row) {
      piece.spikes[counts.column()] += static_cast<std::uint32_t>(inputs.active(row));
    }
  }
}

void Pass::reserve(std::int64_t rows) {
  const Config& c = model_.config;
  const std::int64_t rank = std::max({c.decay_rank, c.rate_rank, c.value_rank, c.gate_rank});
  for (Buffer<float>* buffer : {&x_, &normed_, &shifted_, &y_, &branch_}) {
    buffer->at_least(size(rows * c.width));
  }
  for (Buffer<float>* buffer : {&r_, &w_, &k_, &v_, &a_, &g_, &first_, &mixed_}) {
    buffer->at_least(size(rows * c.inner()));
  }
  for (Buffer<float>* buffer : {&middle_, &up_}) buffer->at_least(size(rows * c.middle));
  low_.at_least(size(rows * rank));
}

// Rows of tokens, and where they stand in their texts.
void Pass::embed(const std::vector<Piece>& pieces, std::int64_t rows) {
  const std::int64_t D = model_.config.width;
  rotary_.begin(rows);
  float* x = model_.embedding_norm ? normed_.data() : x_.data();
  for (const Piece& piece : pieces) {
    for (std::int64_t i = 0; i < piece.count; ++i) {
      const std::int64_t row = piece.row + i, position = piece.state->position + i;
      model_.embed(piece.tokens[i], position, x + row * D, y_.data());
      rotary_.place(row, position);
    }
  }
  if (model_.embedding_norm) norm(*model_.embedding_norm, x, rows, x_.data());
}

void Pass::norm(const Norm& norm, const float* x, std::int64_t rows, float* y) {
  const Config& c = model_.config;
  pool_->each(rows, [&](int, std::int64_t row) {
    const float* from = x + row * c.width;
    float* to = y + row * c.width;
    if (c.norm == NormKind::rms) {
      table_.rms_norm(from, norm.weight, c.norm_eps, to, c.width);
    } else {
      table_.layer_norm(from, norm.weight, norm.bias, c.norm_eps, to, c.width);
    }
  });
  inputs_of_ = nullptr;
}

void Pass::norm_if(const std::optional<Norm>& wanted, const float* x, std::int64_t rows, float* y) {
  if (wanted) return norm(*wanted, x, rows, y);
  std::memcpy(y, x, sizeof(float) * size(rows * model_.config.width));
  inputs_of_ = nullptr;
}

// Adds what half of a block gives, behind its norm where it has one.
void Pass::add_half(const std::optional<Norm>& after, float* y, std::int64_t rows) {
  if (after) norm(*after, y, rows, y);
  table_.add(x_.data(), y, rows * model_.config.width);
}

// Logits held between -c and c: c tanh(z / c).
void Pass::cap(float* logits, std::int64_t rows) {
  const float most = model_.config.logit_cap;
  const std::int64_t words = model_.config.vocab;
  pool_->each(rows, [&](int, std::int64_t row) {
    float* z = logits + row * words;
    for (std::int64_t i = 0; i < words; ++i) z[i] /= most;
    table_.tanh(z, words);
    for (std::int64_t i = 0; i < words; ++i) z[i] *= most;
  });
}

// Matrices that read the same rows share their encoded forms.
void Pass::multiply(const Matrix& matrix, const float* x, std::int64_t rows, float* y) {
  if (inputs_of_ != x) inputs_.set(x, rows, matrix.width());
  inputs_of_ = x;
  matrix.multiply(inputs_, y, *pool_);
  tally(inputs_, matrix.encoding(), matrix.counts());
}

void Pass::each(std::int64_t rows, float* x, std::int64_t width,
                void (*function)(float*, std::int64_t)) {
  pool_->each(rows, [&](int, std::int64_t row) { function(x + row * width, width); });
}

void Pass::low_rank(const LowRank& adapter, const float* x, std::int64_t rows,
                    void (*activation)(float*, std::int64_t), float* y) {
  const std::int64_t C = adapter.up.height();
  multiply(adapter.down, x, rows, low_.data());
  if (activation != nullptr) each(rows, low_.data(), adapter.down.height(), activation);
  // Encoded elsewhere: what comes next may read x again.
  narrow_.set(low_.data(), rows, adapter.up.width());
  adapter.up.multiply(narrow_, y, *pool_);
  tally(narrow_, adapter.up.encoding(), adapter.up.counts());
  if (adapter.bias == nullptr) return;
  for (std::int64_t row = 0; row < rows; ++row) table_.add(y + row * C, adapter.bias, C);
}

// Rows mixed with the ones before them; `channel` tells the MLP's last row from the mixer's.
const float* Pass::shifted(const float* x, const float* mix, const std::vector<Piece>& pieces,
                           std::size_t layer, bool channel) {
  if (mix == nullptr) return x;
  const std::int64_t D = model_.config.width;
  for (const Piece& piece : pieces) {
    const float* last = channel ? piece.state->channel_shift(layer) : piece.state->shift(layer);
    for (std::int64_t row = piece.row; row < piece.row + piece.count; ++row) {
      table_.shift(x + row * D, last, mix, shifted_.data() + row * D, D);
      last = x + row * D;
    }
  }
  inputs_of_ = nullptr;
  return shifted_.data();
}

void Pass::mlp(const Block& block, std::size_t layer, const std::vector<Piece>& pieces,
               std::int64_t rows) {
  const Config& c = model_.config;
  const std::vector<Matrix>& matrices = block.mlp.matrices;
  const float* input = shifted(normed_.data(), block.mlp.shift, pieces, layer, true);
  multiply(matrices[0], input, rows, middle_.data());
  if (c.mlp == Mlp::gated) multiply(matrices[1], input, rows, up_.data());
  activate(middle_.data(), rows);
  if (c.mlp == Mlp::gated) {
    table_.multiply(middle_.data(), up_.data(), rows * c.middle);
  } else if (c.mlp == Mlp::channel_mix) {
    table_.square(middle_.data(), rows * c.middle);
    keep_last(pieces, normed_.data(), c.width,
              [&](State& state) { return state.channel_shift(layer); });
  }
  inputs_of_ = nullptr;
  multiply(matrices.back(), middle_.data(), rows, y_.data());
  inputs_of_ = nullptr;
}

void Pass::activate(float* x, std::int64_t rows) {
  const Config& c = model_.config;
  switch (c.activation) {
    case Activation::silu: return each(rows, x, c.middle, table_.silu);
    case Activation::gelu: return each(rows, x, c.middle, table_.gelu);
    case Activation::gelu_tanh: return each(rows, x, c.middle, table_.gelu_tanh);
    case Activation::relu: return each(rows, x, c.middle, table_.relu);
  }
}

}  // namespace goose::engine
