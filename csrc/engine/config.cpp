#include "engine/config.h"

#include <stdexcept>

namespace goose::engine {
namespace {

struct Size {
  const char* name;
  std::int64_t Config::*field;
  std::int64_t most, multiple = 1;  // at least 1, and at least the multiple
};
constexpr Size kSizes[] = {
    {"vocab_size", &Config::vocab, 1 << 24},
    {"hidden_size", &Config::width, kMostColumns},
    {"num_hidden_layers", &Config::layers, 1 << 10},
    {"num_attention_heads", &Config::heads, 1 << 12},
    {"head_size", &Config::head_size, kMostHeadSize, 16},
    {"intermediate_size", &Config::middle, kMostColumns},
    {"decay_rank", &Config::decay_rank, 1 << 14},
    {"rate_rank", &Config::rate_rank, 1 << 14},
    {"value_rank", &Config::value_rank, 1 << 14},
    {"gate_rank", &Config::gate_rank, 1 << 14},
};

struct Switch {
  const char* name;
  bool Config::*field;
  bool later = false;  // files from before it do not say it, and have it off
};
constexpr Switch kSwitches[] = {
    {"token_shift", &Config::token_shift},
    {"value_shift", &Config::value_shift, true},
    {"removal_key", &Config::removal_key},
    {"key_replacement", &Config::key_replacement},
    {"bonus", &Config::bonus},
    {"group_norm", &Config::group_norm},
    {"rope", &Config::rope},
    {"qkv_bias", &Config::qkv_bias},
    {"output_bias", &Config::output_bias},
    {"mlp_bias", &Config::mlp_bias},
    {"embedding_norm", &Config::embedding_norm},
    {"tie_word_embeddings", &Config::tied},
};

struct Number {
  const char* name;
  float Config::*field;
  double most;
};
constexpr Number kNumbers[] = {{"norm_eps", &Config::norm_eps, 1},
                               {"rope_theta", &Config::rope_theta, 1e12}};

template <class Choice>
struct Words {
  const char* name;
  Choice Config::*field;
  std::vector<std::pair<const char*, Choice>> words;
};

// Calls visit(table) for every setting that takes one of a few words.
template <class Visit>
void each_words(const Visit& visit) {
  visit(Words<MixerKind>{"mixer", &Config::mixer, {{"rwkv7", MixerKind::rwkv7}}});
  visit(Words<Gate>{"gate", &Config::gate, {{"sigmoid", Gate::sigmoid},
                                            {"one_plus", Gate::one_plus},
                                            {"none", Gate::none}}});
  visit(Words<ValueMix>{"v_first", &Config::value_mix, {{"mix", ValueMix::mix},
                                                        {"detached", ValueMix::mix},
                                                        {"none", ValueMix::none}}});
  visit(Words<Mlp>{"mlp", &Config::mlp, {{"gated", Mlp::gated}, {"channel_mix", Mlp::channel_mix}}});
  visit(Words<NormKind>{"norm", &Config::norm, {{"rms", NormKind::rms}, {"layer", NormKind::layer}}});
  visit(Words<Activation>{"hidden_act", &Config::activation,
                          {{"silu", Activation::silu},
                           {"swish", Activation::silu},
                           {"gelu", Activation::gelu},
                           {"gelu_new", Activation::gelu_tanh},
                           {"gelu_pytorch_tanh", Activation::gelu_tanh},
                           {"relu", Activation::relu}}});
}

// Parts of a student that the engine does not compute.
constexpr const char* kAbsent[] = {"qk_norm", "n_positions", "real_vocab_size"};

std::invalid_argument wrong(const std::string& name, const std::string& right) {
  return std::invalid_argument(name + ": must be " + right);
}

class Reader {
 public:
  explicit Reader(const Settings& settings) : settings_(settings) {}

  std::int64_t value(const Size& size) const {
    const auto* value = std::get_if<std::int64_t>(&get(size.name));
    if (value != nullptr && *value >= 1 && *value <= size.most && *value % size.multiple == 0) {
      return *value;
    }
    const std::string most = std::to_string(size.most), by = std::to_string(size.multiple);
    throw wrong(size.name, size.multiple == 1 ? "a whole number from 1 to " + most
                                              : "a multiple of " + by + ", at most " + most);
  }

  bool value(const Switch& flag) const {
    if (flag.later && settings_.count(flag.name) == 0) return false;
    if (const auto* value = std::get_if<bool>(&get(flag.name))) return *value;
    throw wrong(flag.name, "true or false");
  }

  float value(const Number& number) const {
    double value = -1;
    if (const auto* real = std::get_if<double>(&get(number.name))) value = *real;
    if (const auto* whole = std::get_if<std::int64_t>(&get(number.name))) {
      value = static_cast<double>(*whole);
    }
    if (value > 0 && value <= number.most) return static_cast<float>(value);
    throw wrong(number.name, "a number above 0, up to " + std::to_string(number.most));
  }

  template <class Choice>
  Choice value(const Words<Choice>& table) const {
    const auto* word = std::get_if<std::string>(&get(table.name));
    std::string words;
    for (const auto& [text, value] : table.words) {
      if (word != nullptr && *word == text) return value;
      words += (words.empty() ? "" : ", ") + std::string(text);
    }
    throw std::invalid_argument(std::string(table.name) + " = '" + (word ? *word : "") +
                                "': the engine knows " + words);
  }

  void refuse(const std::string& name) const {
    const auto found = settings_.find(name);
    if (found == settings_.end()) return;
    const auto* flag = std::get_if<bool>(&found->second);
    const auto* size = std::get_if<std::int64_t>(&found->second);
    if ((flag != nullptr && !*flag) || (size != nullptr && *size == 0)) return;
    throw wrong(name, "false or 0: the engine does not know it");
  }

 private:
  const Setting& get(const std::string& name) const {
    const auto found = settings_.find(name);
    if (found == settings_.end()) throw wrong(name, "in the configuration");
    return found->second;
  }

  const Settings& settings_;
};

}  // namespace

Config read_config(const Settings& settings) {
  const Reader read(settings);
  Config c{};
  for (const Size& size : kSizes) c.*size.field = read.value(size);
  for (const Switch& flag : kSwitches) c.*flag.field = read.value(flag);
  for (const Number& number : kNumbers) c.*number.field = read.value(number);
  for (const char* name : kAbsent) read.refuse(name);
  c.activation = Activation::relu;
  each_words([&](const auto& table) {
    // The channel mix has its own activation, and asks for none. `mlp` comes first in the table.
    if (std::string(table.name) == "hidden_act" && c.mlp == Mlp::channel_mix) return;
    c.*table.field = read.value(table);
  });
  if (c.inner() > kMostColumns) {
    throw wrong("num_attention_heads x head_size", "at most " + std::to_string(kMostColumns));
  }
  return c;
}

Limits limits() {
  Limits result;
  for (const Size& size : kSizes) {
    result.sizes[size.name] = {size.multiple, size.most, size.multiple};
  }
  for (const Switch& flag : kSwitches) result.switches.emplace_back(flag.name);
  for (const Number& number : kNumbers) result.numbers[number.name] = number.most;
  each_words([&](const auto& table) {
    for (const auto& [word, value] : table.words) result.words[table.name].emplace_back(word);
  });
  for (const char* name : kAbsent) result.absent.emplace_back(name);
  result.inner = kMostColumns;
  return result;
}

}  // namespace goose::engine
