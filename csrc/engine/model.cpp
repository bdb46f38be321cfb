#include "engine/model.h"

#include <stdexcept>

#include "kernels/dense/half.h"

namespace goose::engine {
namespace {

Norm read_norm(const Source& source, const Config& c, const std::string& name) {
  return {source.floats(name + ".weight", {c.width}),
          c.norm == NormKind::rms ? nullptr : source.floats(name + ".bias", {c.width})};
}

// Takes matrices in the order of their use, so that memory is read from front to back.
class Builder {
 public:
  Builder(const Source& source, const Config& config, const kernels::Table& table, Arena& arena)
      : source_(source), c_(config), table_(table), arena_(arena) {}

  Block block(std::size_t layer) const {
    const std::string name = "blocks." + std::to_string(layer) + ".";
    const bool before = c_.norm_place != NormPlace::after, after = c_.norm_place != NormPlace::before;
    return {norm_if(before, name + "mixer_norm"), norm_if(after, name + "mixer_after"),
            norm_if(before, name + "mlp_norm"),   norm_if(after, name + "mlp_after"),
            mixer(name + "mixer.", layer),        mlp(name + "mlp.")};
  }

  // `bias` says whether one must be there; a ternary method may have added one where none must.
  Matrix matrix(const std::string& name, std::int64_t M, std::int64_t K, bool bias = false) const {
    if (bias) source_.floats(name + ".bias", {M});
    return Matrix(source_, name, M, K, table_, arena_);
  }

 private:
  std::optional<Norm> norm_if(bool wanted, const std::string& name) const {
    if (!wanted) return std::nullopt;
    return read_norm(source_, c_, name);
  }

  LowRank low_rank(const std::string& name, std::int64_t rank, bool bias) const {
    const std::int64_t C = c_.inner();
    return {matrix(name + ".down", rank, c_.width), matrix(name + ".up", C, rank),
            bias ? source_.floats(name + ".bias", {C}) : nullptr};
  }

  std::optional<LowRank> low_rank_if(bool wanted, const std::string& name, std::int64_t rank,
                                     bool bias) const {
    if (!wanted) return std::nullopt;
    return low_rank(name, rank, bias);
  }

  const float* optional(bool wanted, const std::string& name, const Shape& shape) const {
    return wanted ? source_.floats(name, shape) : nullptr;
  }

  Mixer mixer(const std::string& name, std::size_t layer) const {
    const std::int64_t D = c_.width, C = c_.inner();
    const bool gated = c_.gate != Gate::none;
    const std::int64_t normed = c_.normed_heads == NormedHeads::all ? C : c_.head_size;
    const bool mixes = layer > 0 && c_.value_mix == ValueMix::mix;
    return {matrix(name + "receptance", C, D, c_.qkv_bias),
            matrix(name + "key", C, D, c_.qkv_bias),
            matrix(name + "value", C, D, c_.qkv_bias),
            Site(source_, name + "k", C),
            Site(source_, name + "v", C),
            low_rank_if(mixes, name + "value_mix", c_.value_rank, true),
            low_rank(name + "decay", c_.decay_rank, true),
            low_rank(name + "rate", c_.rate_rank, true),
            low_rank_if(gated, name + "gate", c_.gate_rank, false),
            matrix(name + "output", D, C, c_.output_bias),
            optional(c_.token_shift, name + "shift.mix", {gated ? 6 : 5, D}),
            optional(c_.value_shift, name + "value_shift.mix", {1, C}),
            optional(c_.removal_key, name + "removal", {C}),
            optional(c_.key_replacement, name + "replacement", {C}),
            optional(c_.bonus, name + "bonus", {c_.heads, c_.head_size}),
            {optional(c_.group_norm, name + "norm.weight", {C}),
             optional(c_.group_norm, name + "norm.bias", {C})},
            optional(c_.qk_norm, name + "query_norm.weight", {normed}),
            optional(c_.qk_norm, name + "key_norm.weight", {normed})};
  }

  MlpLayer mlp(const std::string& name) const {
    MlpLayer result{{}, nullptr};
    const std::int64_t D = c_.width, I = c_.middle;
    if (c_.mlp != Mlp::channel_mix) {
      if (c_.mlp == Mlp::gated) {
        result.matrices.push_back(matrix(name + "gate", I, D, c_.mlp_bias));
      }
      result.matrices.push_back(matrix(name + "up", I, D, c_.mlp_bias));
      result.matrices.push_back(matrix(name + "down", D, I, c_.mlp_bias));
    } else {
      result.matrices.push_back(matrix(name + "key", I, D, c_.mlp_bias));
      result.matrices.push_back(matrix(name + "value", D, I, c_.mlp_bias));
      result.shift = optional(c_.token_shift, name + "shift.mix", {1, D});
    }
    return result;
  }

  const Source& source_;
  const Config& c_;
  const kernels::Table& table_;
  Arena& arena_;
};

}  // namespace

Model::Model(const Settings& settings, const Source& source, Memory states)
    : config(read_config(settings)), memory(states), table(kernels::selected_table()) {
  const Config& c = config;
  const Builder build(source, c, table, weights_);
  embedding_ = Lookup(source, "embedding", c.vocab, c.width);
  if (c.positions > 0) positions_ = Lookup(source, "positions", c.positions, c.width);
  if (c.embedding_norm) embedding_norm = read_norm(source, c, "embedding_norm");
  final_norm = read_norm(source, c, "final_norm");
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(c.layers); ++layer) {
    blocks.push_back(build.block(layer));
  }
  const bool own = source.has("lm_head.weight") || source.has("lm_head.planes");
  if (!own && !c.tied) throw std::invalid_argument("tensor 'lm_head.weight' is missing");
  head.emplace(build.matrix(own ? "lm_head" : "embedding", c.vocab, c.width), table, weights_);
}

State Model::new_state() const {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  return State(memory, size(config.layers), size(config.heads), size(config.head_size),
               size(config.width), config.mlp == Mlp::channel_mix,
               config.value_shift ? size(config.inner()) : 0);
}

void Model::embed(std::int32_t token, std::int64_t position, float* x, float* room) const {
  embedding_.row(token, config.width, x);
  if (positions_.rows == nullptr) return;
  positions_.row(position, config.width, room);
  table.add(x, room, config.width);
}

Lookup::Lookup(const Source& source, const std::string& name, std::int64_t count,
               std::int64_t width) {
  if (source.get(name + ".weight").dtype == "U8") {
    grouped.emplace(source, name, count, width);
    rows = grouped->codes;
    return;
  }
  const bool i8 = source.get(name + ".weight").dtype == "I8";
  rows = source.take<void>(name + ".weight", i8 ? "I8" : "F16", {count, width});
  if (i8) scale = source.floats(name + ".scale", {count});
}

void Lookup::row(std::int64_t number, std::int64_t width, float* x) const {
  const std::int64_t first = number * width;
  if (grouped) {
    for (std::int64_t d = 0; d < width; ++d) x[d] = grouped->weight(number, d);
  } else if (scale == nullptr) {
    const auto* from = static_cast<const std::uint16_t*>(rows) + first;
    for (std::int64_t d = 0; d < width; ++d) x[d] = single_of_half(from[d]);
  } else {
    const auto* from = static_cast<const std::int8_t*>(rows) + first;
    for (std::int64_t d = 0; d < width; ++d) x[d] = scale[number] * from[d];
  }
}

}  // namespace goose::engine
