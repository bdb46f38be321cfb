#include "engine/pass.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace goose::engine {
namespace {

enum Consumer { kReceptance, kDecay, kKey, kValue, kRate, kGate };

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Null stays null: a part that is switched off.
const float* at(const float* vector, std::int64_t index) {
  return vector == nullptr ? nullptr : vector + index;
}

// Copies the last row of every piece to where `to` says.
template <class To>
void keep_last(const std::vector<Piece>& pieces, const float* x, std::int64_t width, const To& to) {
  for (const Piece& piece : pieces) {
    std::memcpy(to(*piece.state), x + (piece.row + piece.count - 1) * width,
                sizeof(float) * size(width));
  }
}

// Rotates pairs (i, i + n/2) of the first n channels of a head by position * theta^(-2i/n).
void rotate(float* x, std::int64_t n, std::int64_t position, float theta) {
  const std::int64_t half = n / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(i) / static_cast<float>(half);
    const float angle = static_cast<float>(position) * std::pow(theta, -exponent);
    const float cosine = std::cos(angle), sine = std::sin(angle);
    const float left = x[i], right = x[i + half];
    x[i] = left * cosine - right * sine;
    x[i + half] = right * cosine + left * sine;
  }
}

}  // namespace

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

void Pass::head(const float* x, const std::vector<Piece>& pieces, float missed, float* logits,
                Pool& pool) {
  begin(pieces, pool);
  const std::int64_t rows = pieces.back().row + pieces.back().count;
  norm(model_.final_norm, x, rows, normed_.data());
  inputs_.set(normed_.data(), rows, model_.config.width);
  // What is rough before it is bounded would hold more of the probability after it.
  const bool bounded = model_.config.logit_cap > 0;
  model_.head->multiply(inputs_, logits, bounded ? 0 : missed, pool);
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

void Pass::embed(const std::vector<Piece>& pieces, std::int64_t rows) {
  const std::int64_t D = model_.config.width;
  float* x = model_.embedding_norm ? normed_.data() : x_.data();
  for (const Piece& piece : pieces) {
    for (std::int64_t i = 0; i < piece.count; ++i) {
      model_.embed(piece.tokens[i], piece.state->position + i, x + (piece.row + i) * D, y_.data());
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
  inputs_of_ = nullptr;
  multiply(adapter.up, low_.data(), rows, y);
  inputs_of_ = nullptr;
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

void Pass::mix(const Block& block, std::size_t layer, const std::vector<Piece>& pieces,
               std::int64_t rows) {
  const Config& c = model_.config;
  const Mixer& m = block.mixer;
  const auto input = [&](Consumer consumer) {
    return shifted(normed_.data(), at(m.shift, consumer * c.width), pieces, layer, false);
  };
  multiply(m.receptance, input(kReceptance), rows, r_.data());
  multiply(m.key, input(kKey), rows, k_.data());
  m.k.code(k_.data(), rows, coded_, *pool_);
  tally(coded_, m.k.encoding(), m.k.counts());
  norm_all_heads(m.query_norm, rows, r_.data());
  norm_all_heads(m.key_norm, rows, k_.data());
  values(m, layer, input(kValue), pieces, rows);
  low_rank(m.decay, input(kDecay), rows, table_.tanh, w_.data());
  each(rows, w_.data(), c.inner(), table_.decay);
  low_rank(m.rate, input(kRate), rows, nullptr, a_.data());
  each(rows, a_.data(), c.inner(), table_.sigmoid);
  if (m.gate) low_rank(*m.gate, input(kGate), rows, table_.sigmoid, g_.data());
  recur(m, layer, pieces);
  keep_last(pieces, normed_.data(), c.width, [&](State& state) { return state.shift(layer); });
  inputs_of_ = nullptr;
  multiply(m.output, mixed_.data(), rows, y_.data());
  inputs_of_ = nullptr;
}

// R or k of all heads as one, where they are normalised so.
void Pass::norm_all_heads(const float* gain, std::int64_t rows, float* x) {
  const Config& c = model_.config;
  if (gain == nullptr || c.normed_heads != NormedHeads::all) return;
  pool_->each(rows, [&](int, std::int64_t row) {
    float* all = x + row * c.inner();
    table_.rms_norm(all, gain, c.norm_eps, all, c.inner());
  });
}

// R or k of one head, normalised where each head is, and turned where the layer does.
void Pass::norm_and_turn(const float* gain, std::size_t layer, std::int64_t position,
                         float* x) const {
  const Config& c = model_.config;
  if (gain != nullptr && c.normed_heads == NormedHeads::each) {
    table_.rms_norm(x, gain, c.norm_eps, x, c.head_size);
  }
  const float theta = c.rotary_base(layer);
  if (theta > 0) rotate(x, c.rope_channels > 0 ? c.rope_channels : c.head_size, position, theta);
}

// Values, with those of the first block mixed in.
void Pass::values(const Mixer& m, std::size_t layer, const float* x,
                  const std::vector<Piece>& pieces, std::int64_t rows) {
  const std::int64_t C = model_.config.inner();
  multiply(m.value, x, rows, v_.data());
  if (m.value_shift != nullptr) shift_values(m.value_shift, layer, pieces);
  m.v.code(v_.data(), rows, coded_, *pool_);
  tally(coded_, m.v.encoding(), m.v.counts());
  if (m.value_mix) {
    low_rank(*m.value_mix, x, rows, nullptr, a_.data());
    each(rows, a_.data(), C, table_.sigmoid);
    table_.blend(v_.data(), first_.data(), a_.data(), rows * C);
  } else if (layer == 0) {
    std::memcpy(first_.data(), v_.data(), sizeof(float) * size(rows * C));
  }
}

// Values mixed with the ones before them, in place: from the last row to the first, so that every
// row still finds the one before it.
void Pass::shift_values(const float* mix, std::size_t layer, const std::vector<Piece>& pieces) {
  const std::int64_t C = model_.config.inner();
  std::vector<float> last(size(C));
  for (const Piece& piece : pieces) {
    float* first = v_.data() + piece.row * C;
    float* before = piece.state->values(layer);
    const float* end = first + (piece.count - 1) * C;
    std::copy_n(end, size(C), last.data());
    for (std::int64_t row = piece.count - 1; row > 0; --row) {
      table_.shift(first + row * C, first + (row - 1) * C, mix, first + row * C, C);
    }
    table_.shift(first, before, mix, first, C);
    std::copy_n(last.data(), size(C), before);
  }
}

void Pass::recur(const Mixer& m, std::size_t layer, const std::vector<Piece>& pieces) {
  const std::int64_t heads = model_.config.heads;
  pool_->each(static_cast<std::int64_t>(pieces.size()) * heads, [&](int, std::int64_t item) {
    recur_head(m, layer, pieces[size(item / heads)], item % heads, mixed_.data());
  });
}

// The recurrence of one head over a piece, with its norm, bonus and gate.
void Pass::recur_head(const Mixer& m, std::size_t layer, const Piece& piece, std::int64_t head,
                      float* out) {
  const Config& c = model_.config;
  const std::int64_t N = c.head_size, C = c.inner(), first = head * N;
  const float plus = c.gate == Gate::one_plus ? 1.0F : 0.0F;
  float* state = piece.state->wkv(layer) + head * N * N;
  const bool ends = layer + 1 == model_.blocks.size();
  const float* next = ends ? state : piece.state->wkv(layer + 1) + head * N * N;
  const float least = m.k.encoding().spikes() ? kLeastSpikingKey : kLeastKey;
  alignas(64) float alpha[kMostHeadSize], beta[kMostHeadSize], written[kMostHeadSize];
  alignas(64) float y[kMostHeadSize];
  for (std::int64_t row = piece.row; row < piece.row + piece.count; ++row) {
    const std::int64_t from = row * C + first;
    float *r = r_.data() + from, *k = k_.data() + from;
    const float* v = v_.data() + from;
    const std::int64_t position = piece.state->position + row - piece.row;
    norm_and_turn(m.query_norm, layer, position, r);
    norm_and_turn(m.key_norm, layer, position, k);
    const float score =
        table_.delta(r, k, a_.data() + from, at(m.removal, first), at(m.replacement, first),
                     at(m.bonus, first), least, alpha, beta, written, N);
    table_.wkv(state, next, r, w_.data() + from, written, v, alpha, beta, y, N);
    if (m.norm.weight != nullptr) {
      table_.layer_norm(y, m.norm.weight + first, m.norm.bias + first,
                        static_cast<float>(N) * 1e-5F, y, N);
    }
    table_.gate(y, score, v, plus, m.gate ? g_.data() + from : nullptr, out + from, N);
  }
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
