#include "engine/config.h"

#include <stdexcept>
#include <utility>
#include <vector>

namespace goose::engine {
namespace {

class Reader {
 public:
  explicit Reader(const Settings& settings) : settings_(settings) {}

  std::int64_t size(const std::string& name, std::int64_t most) const {
    const auto* value = std::get_if<std::int64_t>(&get(name));
    if (value == nullptr || *value < 1 || *value > most) {
      throw std::invalid_argument(name + ": must be an integer from 1 to " + std::to_string(most));
    }
    return *value;
  }

  bool flag(const std::string& name) const {
    if (const auto* value = std::get_if<bool>(&get(name))) return *value;
    throw std::invalid_argument(name + ": must be true or false");
  }

  float number(const std::string& name) const {
    double value = -1;
    if (const auto* real = std::get_if<double>(&get(name))) value = *real;
    if (const auto* integer = std::get_if<std::int64_t>(&get(name))) value = static_cast<double>(*integer);
    if (!(value > 0 && value < 1e12)) throw std::invalid_argument(name + ": must be a number above 0");
    return static_cast<float>(value);
  }

  template <class Choice>
  Choice choice(const std::string& name,
                const std::vector<std::pair<std::string, Choice>>& choices) const {
    const auto* word = std::get_if<std::string>(&get(name));
    std::string words;
    for (const auto& [text, value] : choices) {
      if (word != nullptr && *word == text) return value;
      words += (words.empty() ? "" : ", ") + text;
    }
    throw std::invalid_argument(name + " = '" + (word ? *word : "") + "': the engine knows " + words);
  }

 private:
  const Setting& get(const std::string& name) const {
    const auto found = settings_.find(name);
    if (found == settings_.end()) throw std::invalid_argument(name + ": missing in the configuration");
    return found->second;
  }

  const Settings& settings_;
};

}  // namespace

Config read_config(const Settings& settings) {
  const Reader read(settings);
  Config c{};
  c.vocab = read.size("vocab_size", 1 << 24);
  c.width = read.size("hidden_size", 1 << 16);
  c.layers = read.size("num_hidden_layers", 1 << 12);
  c.heads = read.size("num_attention_heads", 1 << 12);
  c.head_size = read.size("head_size", 128);
  c.middle = read.size("intermediate_size", 1 << 16);
  c.decay_rank = read.size("decay_rank", 1 << 14);
  c.rate_rank = read.size("rate_rank", 1 << 14);
  c.value_rank = read.size("value_rank", 1 << 14);
  c.gate_rank = read.size("gate_rank", 1 << 14);
  if (c.head_size % 16 != 0) {
    throw std::invalid_argument("head_size = " + std::to_string(c.head_size) +
                                ": the engine needs a multiple of 16, at most 128");
  }
  c.token_shift = read.flag("token_shift");
  c.removal_key = read.flag("removal_key");
  c.key_replacement = read.flag("key_replacement");
  c.bonus = read.flag("bonus");
  c.group_norm = read.flag("group_norm");
  c.rope = read.flag("rope");
  c.embedding_norm = read.flag("embedding_norm");
  c.tied = read.flag("tie_word_embeddings");
  c.rope_theta = read.number("rope_theta");
  c.norm_eps = read.number("norm_eps");
  c.rms_norm = read.choice<bool>("norm", {{"rms", true}, {"layer", false}});
  c.gate = read.choice<Gate>("gate", {{"sigmoid", Gate::sigmoid}, {"one_plus", Gate::one_plus},
                                      {"none", Gate::none}});
  c.value_mix = read.choice<ValueMix>("v_first", {{"mix", ValueMix::mix},
                                                  {"detached", ValueMix::mix},
                                                  {"none", ValueMix::none}});
  c.mlp = read.choice<Mlp>("mlp", {{"gated", Mlp::gated}, {"channel_mix", Mlp::channel_mix}});
  c.activation = c.mlp == Mlp::channel_mix
                     ? Activation::relu
                     : read.choice<Activation>("hidden_act",
                                               {{"silu", Activation::silu},
                                                {"gelu", Activation::gelu},
                                                {"gelu_new", Activation::gelu_tanh},
                                                {"gelu_pytorch_tanh", Activation::gelu_tanh},
                                                {"relu", Activation::relu}});
  return c;
}

}  // namespace goose::engine
