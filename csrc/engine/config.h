// The settings of a student that the engine needs (asnn_goose/shape), and which of them it can run.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace goose::engine {

using Setting = std::variant<bool, std::int64_t, double, std::string, std::vector<double>>;
using Settings = std::map<std::string, Setting>;

// A head's vectors lie on the stack, and its rows are taken 16 at a time (kernels/vectors).
constexpr std::int64_t kMostHeadSize = 128;
// Columns of a matrix: what an entry of a list of spikes can say (kernels.h).
constexpr std::int64_t kMostColumns = 1 << 16;
// Lengths that the removal direction is divided by count as at least this. A head without a spike
// has length 0, where training needs more.
constexpr float kLeastKey = 1e-12F, kLeastSpikingKey = 1e-6F;

enum class MixerKind { rwkv7 };
enum class Gate { sigmoid, one_plus, none };
enum class ValueMix { mix, none };
enum class Mlp { gated, plain, channel_mix };
enum class NormKind { rms, layer };
enum class NormPlace { before, after, both };
enum class NormedHeads { each, all };
enum class Activation { silu, gelu, gelu_tanh, relu };

struct Config {
  std::int64_t vocab, width, layers, heads, head_size, middle;
  std::int64_t decay_rank, rate_rank, value_rank, gate_rank, positions, rope_channels;
  bool token_shift, value_shift, removal_key, key_replacement, bonus, group_norm, rope, qk_norm;
  bool qkv_bias, output_bias, mlp_bias, embedding_norm, tied, parallel;
  float rope_theta, norm_eps, logit_cap;
  std::vector<double> rope_thetas;  // one for every layer, or none: rope_theta for all
  MixerKind mixer;
  Gate gate;
  ValueMix value_mix;
  Mlp mlp;
  NormKind norm;
  NormPlace norm_place;
  NormedHeads normed_heads;
  Activation activation;

  std::int64_t inner() const { return heads * head_size; }
  // The base by which a layer turns r and k; 0 where it does not.
  float rotary_base(std::size_t layer) const {
    if (!rope) return 0;
    return rope_thetas.empty() ? rope_theta : static_cast<float>(rope_thetas[layer]);
  }
};

// Throws std::invalid_argument that names the setting, what was found and what would be right.
Config read_config(const Settings& settings);

// The same tables that `read_config` goes by, so that a test can hold them to asnn_goose/shape.
struct Limits {
  std::map<std::string, std::vector<std::int64_t>> sizes;  // least, most, multiple
  std::map<std::string, double> numbers;                   // above 0, up to this; or 0, see `none`
  std::map<std::string, double> by_layer;                  // for every layer from 0 to this
  std::vector<std::string> none;                           // numbers that may be 0
  std::map<std::string, std::vector<std::string>> words;
  std::vector<std::string> switches, absent;  // true or false; must be false, 0 or not there
  std::int64_t inner;                         // most heads * head_size
};
Limits limits();

}  // namespace goose::engine
