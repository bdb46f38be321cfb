#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "kernels/dense/half.h"

namespace goose::engine {
namespace {

constexpr std::int64_t kChunk = 64;  // rows that go through the model together

enum Consumer { kReceptance, kDecay, kKey, kValue, kRate, kGate };

// Null stays null: a part that is switched off.
const float* at(const float* vector, std::int64_t index) {
  return vector == nullptr ? nullptr : vector + index;
}

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

Norm read_norm(const Source& source, const Config& c, const std::string& name) {
  return {source.floats(name + ".weight", {c.width}),
          c.rms_norm ? nullptr : source.floats(name + ".bias", {c.width})};
}

class Builder {
 public:
  Builder(const Source& source, const Config& config, const kernels::Table& table, Arena& arena)
      : source_(source), c_(config), table_(table), arena_(arena) {}

  Block block(std::size_t layer) const {
    const std::string name = "blocks." + std::to_string(layer) + ".";
    return {read_norm(source_, c_, name + "mixer_norm"), read_norm(source_, c_, name + "mlp_norm"),
            mixer(name + "mixer.", layer), mlp(name + "mlp.")};
  }

  Matrix matrix(const std::string& name, std::int64_t M, std::int64_t K) const {
    return Matrix(source_, name, M, K, table_, arena_);
  }

 private:
  LowRank low_rank(const std::string& name, std::int64_t rank, bool bias) const {
    const std::int64_t C = c_.inner();
    return {matrix(name + ".down", rank, c_.width), matrix(name + ".up", C, rank),
            bias ? source_.floats(name + ".bias", {C}) : nullptr};
  }

  const float* optional(bool wanted, const std::string& name, const Shape& shape) const {
    return wanted ? source_.floats(name, shape) : nullptr;
  }

  Mixer mixer(const std::string& name, std::size_t layer) const {
    const std::int64_t D = c_.width, C = c_.inner();
    const bool gated = c_.gate != Gate::none;
    Mixer m{matrix(name + "receptance", C, D), matrix(name + "key", C, D),
            matrix(name + "value", C, D),      matrix(name + "output", D, C),
            low_rank(name + "decay", c_.decay_rank, true),
            low_rank(name + "rate", c_.rate_rank, true),
            {}, {},
            optional(c_.token_shift, name + "shift.mix", {gated ? 6 : 5, D}),
            optional(c_.removal_key, name + "removal", {C}),
            optional(c_.key_replacement, name + "replacement", {C}),
            optional(c_.bonus, name + "bonus", {c_.heads, c_.head_size}),
            {optional(c_.group_norm, name + "norm.weight", {C}),
             optional(c_.group_norm, name + "norm.bias", {C})}};
    if (layer > 0 && c_.value_mix == ValueMix::mix) {
      m.value_mix.emplace(low_rank(name + "value_mix", c_.value_rank, true));
    }
    if (gated) m.gate.emplace(low_rank(name + "gate", c_.gate_rank, false));
    return m;
  }

  Mlp2 mlp(const std::string& name) const {
    Mlp2 result{{}, nullptr};
    const std::int64_t D = c_.width, I = c_.middle;
    if (c_.mlp == Mlp::gated) {
      result.matrices.push_back(matrix(name + "gate", I, D));
      result.matrices.push_back(matrix(name + "up", I, D));
      result.matrices.push_back(matrix(name + "down", D, I));
    } else {
      result.matrices.push_back(matrix(name + "key", I, D));
      result.matrices.push_back(matrix(name + "value", D, I));
      result.shift = optional(c_.token_shift, name + "shift.mix", {1, D});
    }
    return result;
  }

  const Source& source_;
  const Config& c_;
  const kernels::Table& table_;
  Arena& arena_;
};

// Rotates pairs (n, n + N/2) of one head by position * theta^(-2n/N).
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

Engine::Engine(const Settings& settings, const Source& source)
    : config_(read_config(settings)),
      table_(kernels::selected_table()),
      pool_(std::make_unique<Pool>(1)),
      inputs_(table_) {
  const Config& c = config_;
  const Builder build(source, c, table_, weights_);
  const bool i8 = source.get("embedding.weight").dtype == "I8";
  embedding_f16_ = !i8;
  embedding_ = source.take<void>("embedding.weight", i8 ? "I8" : "F16", {c.vocab, c.width});
  if (i8) embedding_scale_ = source.floats("embedding.scale", {c.vocab});
  if (c.embedding_norm) embedding_norm_ = read_norm(source, c, "embedding_norm");
  final_norm_ = read_norm(source, c, "final_norm");
  for (std::size_t layer = 0; layer < size(c.layers); ++layer) {
    blocks_.push_back(build.block(layer));
  }
  const bool own = source.has("lm_head.weight") || source.has("lm_head.planes");
  if (!own && !c.tied) throw std::invalid_argument("tensor 'lm_head.weight' is missing");
  head_.emplace(build.matrix(own ? "lm_head" : "embedding", c.vocab, c.width), table_, weights_);
  state_size_ = new_state().size();
}

State Engine::new_state() const {
  const Config& c = config_;
  return State(size(c.layers), size(c.heads), size(c.head_size), size(c.width),
               c.mlp == Mlp::channel_mix);
}

void Engine::check(const std::vector<Sequence>& sequences) const {
  for (const Sequence& s : sequences) {
    if (s.count < 1) throw std::invalid_argument("a sequence has no tokens: give at least one");
    for (std::int64_t i = 0; i < s.count; ++i) {
      if (s.tokens[i] < 0 || s.tokens[i] >= config_.vocab) {
        throw std::invalid_argument("token " + std::to_string(s.tokens[i]) +
                                    ": the vocabulary holds 0 to " +
                                    std::to_string(config_.vocab - 1));
      }
    }
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (sequences[i].state == sequences[j].state) {
        throw std::invalid_argument("a state is given twice: fork it first");
      }
    }
  }
}

void Engine::forward(const std::vector<Sequence>& sequences, float* logits, bool every,
                     float missed, int threads) {
  check(sequences);
  const std::lock_guard<std::mutex> lock(busy_);
  if (threads != pool_->threads()) pool_ = std::make_unique<Pool>(threads);
  const std::int64_t D = config_.width, V = config_.vocab;
  std::vector<std::int64_t> done(sequences.size(), 0);
  Buffer<float> last(size(kChunk * D));
  std::int64_t written = 0;
  std::vector<std::int64_t> offset(sequences.size(), 0);
  if (every) {
    for (std::size_t i = 1; i < sequences.size(); ++i) {
      offset[i] = offset[i - 1] + sequences[i - 1].count;
    }
  }
  for (bool left = true; left;) {
    left = false;
    std::vector<Piece> pieces;
    std::vector<std::size_t> owner;
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < sequences.size() && rows < kChunk; ++i) {
      const std::int64_t count = std::min(sequences[i].count - done[i], kChunk - rows);
      if (count == 0) continue;
      pieces.push_back({sequences[i].state, sequences[i].tokens + done[i], rows, count});
      owner.push_back(i);
      rows += count;
    }
    if (rows == 0) break;
    left = true;
    run(pieces, rows);
    if (every) {
      for (std::size_t p = 0; p < pieces.size(); ++p) {
        head(x_.data() + pieces[p].row * D, pieces[p].count, missed,
             logits + (offset[owner[p]] + done[owner[p]]) * V);
      }
    } else {
      std::vector<std::size_t> ended;
      for (std::size_t p = 0; p < pieces.size(); ++p) {
        if (done[owner[p]] + pieces[p].count < sequences[owner[p]].count) continue;
        std::memcpy(last.data() + static_cast<std::int64_t>(ended.size()) * D,
                    x_.data() + (pieces[p].row + pieces[p].count - 1) * D,
                    sizeof(float) * size(D));
        ended.push_back(owner[p]);
      }
      // Sequences end in order, since earlier ones are served first.
      if (!ended.empty()) {
        head(last.data(), static_cast<std::int64_t>(ended.size()), missed, logits + written * V);
        written += static_cast<std::int64_t>(ended.size());
      }
    }
    for (std::size_t p = 0; p < pieces.size(); ++p) {
      done[owner[p]] += pieces[p].count;
      pieces[p].state->position += pieces[p].count;
    }
  }
}

void Engine::run(const std::vector<Piece>& pieces, std::int64_t rows) {
  const Config& c = config_;
  const std::size_t D = size(rows * c.width), C = size(rows * c.inner());
  const std::size_t I = size(rows * c.middle);
  for (Buffer<float>* buffer : {&x_, &normed_, &shifted_}) buffer->at_least(D);
  for (Buffer<float>* buffer : {&r_, &w_, &k_, &v_, &a_, &g_, &first_, &y_}) {
    buffer->at_least(std::max(C, D));
  }
  for (Buffer<float>* buffer : {&middle_, &up_}) buffer->at_least(I);
  low_.at_least(size(rows * std::max({c.decay_rank, c.rate_rank, c.value_rank, c.gate_rank})));
  embed(pieces, x_.data());
  if (embedding_norm_) {
    norm(*embedding_norm_, x_.data(), rows, normed_.data());
    std::memcpy(x_.data(), normed_.data(), sizeof(float) * D);
  }
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    Block& block = blocks_[layer];
    norm(block.mixer_norm, x_.data(), rows, normed_.data());
    mix(block, layer, pieces, rows);
    table_.add(x_.data(), y_.data(), static_cast<std::int64_t>(D));
    norm(block.mlp_norm, x_.data(), rows, normed_.data());
    mlp(block, layer, pieces, rows);
    table_.add(x_.data(), y_.data(), static_cast<std::int64_t>(D));
  }
}

void Engine::embed(const std::vector<Piece>& pieces, float* x) const {
  const std::int64_t D = config_.width;
  for (const Piece& piece : pieces) {
    for (std::int64_t i = 0; i < piece.count; ++i) {
      const std::int64_t token = piece.tokens[i];
      float* to = x + (piece.row + i) * D;
      if (embedding_f16_) {
        const auto* from = static_cast<const std::uint16_t*>(embedding_) + token * D;
        for (std::int64_t d = 0; d < D; ++d) to[d] = single_of_half(from[d]);
      } else {
        const auto* from = static_cast<const std::int8_t*>(embedding_) + token * D;
        for (std::int64_t d = 0; d < D; ++d) to[d] = embedding_scale_[token] * from[d];
      }
    }
  }
}

void Engine::norm(const Norm& norm, const float* x, std::int64_t rows, float* y) {
  const std::int64_t D = config_.width;
  pool_->each(rows, [&](int, std::int64_t row) {
    const float* from = x + row * D;
    if (config_.rms_norm) {
      table_.rms_norm(from, norm.weight, config_.norm_eps, y + row * D, D);
    } else {
      table_.layer_norm(from, norm.weight, norm.bias, config_.norm_eps, y + row * D, D);
    }
  });
  inputs_of_ = nullptr;
}

// Matrices that read the same rows share their encoded forms.
void Engine::multiply(Matrix& matrix, const float* x, std::int64_t rows, float* y) {
  if (inputs_of_ != x || inputs_.rows() != rows || inputs_.width() != matrix.width()) {
    inputs_.set(x, rows, matrix.width());
    inputs_of_ = x;
  }
  matrix.multiply(inputs_, y, *pool_);
}

void Engine::each(std::int64_t rows, float* x, std::int64_t width,
                  void (*function)(float*, std::int64_t)) {
  pool_->each(rows, [&](int, std::int64_t row) { function(x + row * width, width); });
}

void Engine::low_rank(LowRank& adapter, const float* x, std::int64_t rows,
                      void (*activation)(float*, std::int64_t), float* y) {
  const std::int64_t rank = adapter.down.height(), C = adapter.up.height();
  multiply(adapter.down, x, rows, low_.data());
  if (activation != nullptr) each(rows, low_.data(), rank, activation);
  inputs_of_ = nullptr;
  multiply(adapter.up, low_.data(), rows, y);
  inputs_of_ = nullptr;
  if (adapter.bias == nullptr) return;
  for (std::int64_t row = 0; row < rows; ++row) {
    table_.add(y + row * C, adapter.bias, C);
  }
}

const float* Engine::shifted(const float* x, const float* mix, const std::vector<Piece>& pieces,
                             std::size_t layer, bool channel, float* to) {
  if (mix == nullptr) return x;
  const std::int64_t D = config_.width;
  for (const Piece& piece : pieces) {
    const float* last = channel ? piece.state->channel_shift(layer) : piece.state->shift(layer);
    for (std::int64_t row = piece.row; row < piece.row + piece.count; ++row) {
      table_.shift(x + row * D, last, mix, to + row * D, D);
      last = x + row * D;
    }
  }
  inputs_of_ = nullptr;
  return to;
}

void Engine::mix(Block& block, std::size_t layer, const std::vector<Piece>& pieces,
                 std::int64_t rows) {
  const Config& c = config_;
  Mixer& m = block.mixer;
  const float* x = normed_.data();
  const auto input = [&](Consumer consumer) {
    const float* row = m.shift == nullptr ? nullptr : m.shift + consumer * c.width;
    return shifted(x, row, pieces, layer, false, shifted_.data());
  };
  multiply(m.receptance, input(kReceptance), rows, r_.data());
  multiply(m.key, input(kKey), rows, k_.data());
  const float* values = input(kValue);
  multiply(m.value, values, rows, v_.data());
  if (m.value_mix) {
    low_rank(*m.value_mix, values, rows, nullptr, a_.data());
    each(rows, a_.data(), c.inner(), table_.sigmoid);
    table_.blend(v_.data(), first_.data(), a_.data(), rows * c.inner());
  } else if (layer == 0) {
    std::memcpy(first_.data(), v_.data(), sizeof(float) * size(rows * c.inner()));
  }
  low_rank(m.decay, input(kDecay), rows, table_.tanh, w_.data());
  each(rows, w_.data(), c.inner(), table_.decay);
  low_rank(m.rate, input(kRate), rows, nullptr, a_.data());
  each(rows, a_.data(), c.inner(), table_.sigmoid);
  if (m.gate) low_rank(*m.gate, input(kGate), rows, table_.sigmoid, g_.data());
  recur(m, layer, pieces);
  for (const Piece& piece : pieces) {
    std::memcpy(piece.state->shift(layer), x + (piece.row + piece.count - 1) * c.width,
                sizeof(float) * size(c.width));
  }
  inputs_of_ = nullptr;
  multiply(m.output, shifted_.data(), rows, y_.data());
  inputs_of_ = nullptr;
}

// The recurrence of every head, with its norm, bonus and gate; writes the mixed values to
// `shifted_`, which has served its purpose.
void Engine::recur(Mixer& m, std::size_t layer, const std::vector<Piece>& pieces) {
  const Config& c = config_;
  const std::int64_t N = c.head_size, C = c.inner();
  float* out = shifted_.at_least(size((pieces.back().row + pieces.back().count) * C));
  pool_->each(static_cast<std::int64_t>(pieces.size()) * c.heads, [&](int, std::int64_t item) {
    const Piece& piece = pieces[size(item / c.heads)];
    const std::int64_t head = item % c.heads, first = head * N;
    float* state = piece.state->wkv(layer) + head * N * N;
    alignas(64) float alpha[128], beta[128], written[128], y[128];
    const float plus = c.gate == Gate::one_plus ? 1.0F : 0.0F;
    for (std::int64_t row = piece.row; row < piece.row + piece.count; ++row) {
      float *r = r_.data() + row * C + first, *k = k_.data() + row * C + first;
      const float *v = v_.data() + row * C + first, *a = a_.data() + row * C + first;
      if (c.rope) {
        const std::int64_t position = piece.state->position + row - piece.row;
        rotate(r, N, position, c.rope_theta);
        rotate(k, N, position, c.rope_theta);
      }
      const float score = table_.delta(
          r, k, a, at(m.removal, first), at(m.replacement, first), at(m.bonus, first), alpha, beta,
          written, N);
      table_.wkv(state, r, w_.data() + row * C + first, written, v, alpha, beta, y, N);
      if (m.norm.weight != nullptr) {
        table_.layer_norm(y, m.norm.weight + first, m.norm.bias + first,
                          static_cast<float>(N) * 1e-5F, y, N);
      }
      table_.gate(y, score, v, plus, m.gate ? g_.data() + row * C + first : nullptr,
                  out + row * C + first, N);
    }
  });
}

void Engine::mlp(Block& block, std::size_t layer, const std::vector<Piece>& pieces,
                 std::int64_t rows) {
  const Config& c = config_;
  std::vector<Matrix>& matrices = block.mlp.matrices;
  const float* x = normed_.data();
  const float* input = shifted(x, block.mlp.shift, pieces, layer, true, shifted_.data());
  multiply(matrices[0], input, rows, middle_.data());
  float* middle = middle_.data();
  if (c.mlp == Mlp::gated) {
    multiply(matrices[1], input, rows, up_.data());
    switch (c.activation) {
      case Activation::silu: each(rows, middle, c.middle, table_.silu); break;
      case Activation::gelu: each(rows, middle, c.middle, table_.gelu); break;
      case Activation::gelu_tanh: each(rows, middle, c.middle, table_.gelu_tanh); break;
      case Activation::relu:
        for (std::int64_t i = 0; i < rows * c.middle; ++i) middle[i] = std::max(middle[i], 0.0F);
    }
    table_.multiply(middle, up_.data(), rows * c.middle);
  } else {
    for (std::int64_t i = 0; i < rows * c.middle; ++i) {
      const float positive = std::max(middle[i], 0.0F);
      middle[i] = positive * positive;
    }
    for (const Piece& piece : pieces) {
      std::memcpy(piece.state->channel_shift(layer), x + (piece.row + piece.count - 1) * c.width,
                  sizeof(float) * size(c.width));
    }
  }
  inputs_of_ = nullptr;
  multiply(matrices.back(), middle, rows, y_.data());
  inputs_of_ = nullptr;
}

void Engine::head(const float* x, std::int64_t rows, float missed, float* logits) {
  norm(final_norm_, x, rows, normed_.data());
  inputs_.set(normed_.data(), rows, config_.width);
  head_->multiply(inputs_, logits, missed, *pool_);
  inputs_of_ = nullptr;
}

template <class Visit>
void Engine::visit_matrices(const Visit& visit) {
  for (Block& block : blocks_) {
    Mixer& m = block.mixer;
    for (Matrix* matrix : {&m.receptance, &m.key, &m.value, &m.output}) visit(*matrix);
    for (LowRank* adapter : {&m.decay, &m.rate, m.value_mix ? &*m.value_mix : nullptr,
                             m.gate ? &*m.gate : nullptr}) {
      if (adapter == nullptr) continue;
      visit(adapter->down);
      visit(adapter->up);
    }
    for (Matrix& matrix : block.mlp.matrices) visit(matrix);
  }
  visit(head_->matrix());
}

std::vector<Engine::Usage> Engine::usage() {
  const std::lock_guard<std::mutex> lock(busy_);
  std::vector<Usage> result;
  visit_matrices([&](const Matrix& m) {
    result.push_back({m.name(), m.height(), m.width(), m.encoding().encoder.steps,
                      m.counts.vectors, m.counts.active});
  });
  return result;
}

void Engine::reset_usage() {
  const std::lock_guard<std::mutex> lock(busy_);
  visit_matrices([](Matrix& m) { m.counts = {}; });
}

}  // namespace goose::engine
