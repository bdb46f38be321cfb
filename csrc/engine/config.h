// The settings of a GooseConfig that the engine needs (asnn_goose/model/goose/config.py).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>

namespace goose::engine {

using Setting = std::variant<bool, std::int64_t, double, std::string>;
using Settings = std::map<std::string, Setting>;

enum class Gate { sigmoid, one_plus, none };
enum class ValueMix { mix, none };
enum class Mlp { gated, channel_mix };
enum class Activation { silu, gelu, gelu_tanh, relu };

struct Config {
  std::int64_t vocab, width, layers, heads, head_size, middle;
  std::int64_t decay_rank, rate_rank, value_rank, gate_rank;
  bool token_shift, removal_key, key_replacement, bonus, group_norm, rope, rms_norm;
  bool embedding_norm, tied;
  float rope_theta, norm_eps;
  Gate gate;
  ValueMix value_mix;
  Mlp mlp;
  Activation activation;

  std::int64_t inner() const { return heads * head_size; }
};

// Throws std::invalid_argument that names the setting, what was found and what would be right.
Config read_config(const Settings& settings);

}  // namespace goose::engine
