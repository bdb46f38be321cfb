// The RWKV-7 mixer of a pass: projections, values, the recurrence of every head.
#include "engine/pass_rows.h"

namespace goose::engine {
namespace {

enum Consumer { kReceptance, kDecay, kKey, kValue, kRate, kGate };

// Null stays null: a part that is switched off.
const float* at(const float* vector, std::int64_t index) {
  return vector == nullptr ? nullptr : vector + index;
}

}  // namespace

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
void Pass::norm_and_turn(const float* gain, std::size_t layer, std::int64_t row, float* x) const {
  const Config& c = model_.config;
  if (gain != nullptr && c.normed_heads == NormedHeads::each) {
    table_.rms_norm(x, gain, c.norm_eps, x, c.head_size);
  }
  rotary_.turn(layer, row, x);
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
  char* state = piece.state->wkv(layer, size(head));
  const bool ends = layer + 1 == model_.blocks.size();
  const char* next = ends ? state : piece.state->wkv(layer + 1, size(head));
  const float least = m.k.encoding().spikes() ? kLeastSpikingKey : kLeastKey;
  alignas(64) float alpha[kMostHeadSize], beta[kMostHeadSize], written[kMostHeadSize];
  alignas(64) float y[kMostHeadSize];
  for (std::int64_t row = piece.row; row < piece.row + piece.count; ++row) {
    const std::int64_t from = row * C + first;
    float *r = r_.data() + from, *k = k_.data() + from;
    const float* v = v_.data() + from;
    norm_and_turn(m.query_norm, layer, row, r);
    norm_and_turn(m.key_norm, layer, row, k);
    const float score =
        table_.delta(r, k, a_.data() + from, at(m.removal, first), at(m.replacement, first),
                     at(m.bonus, first), least, alpha, beta, written, N);
    const float* w = w_.data() + from;
    if (model_.memory == Memory::f32) {
      table_.wkv(reinterpret_cast<float*>(state), reinterpret_cast<const float*>(next), r, w,
                 written, v, alpha, beta, y, N);
    } else {
      table_.wkv_bf16(reinterpret_cast<std::uint16_t*>(state),
                      reinterpret_cast<const std::uint16_t*>(next), r, w, written, v, alpha, beta,
                      y, N);
    }
    if (m.norm.weight != nullptr) {
      table_.layer_norm(y, m.norm.weight + first, m.norm.bias + first,
                        static_cast<float>(N) * 1e-5F, y, N);
    }
    table_.gate(y, score, v, plus, m.gate ? g_.data() + from : nullptr, out + from, N);
  }
}

}  // namespace goose::engine
