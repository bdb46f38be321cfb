#include "engine/config.h"

#include <stdexcept>

namespace goose::engine {
namespace {

constexpr double kMostTheta = 1e12;

struct Size {
  const char* name;
  std::int64_t Config::*field;
  std::int64_t most, multiple = 1;  // at least 1, and at least the multiple
  bool later = false;  // may be 0, and files from before it do not say it and have 0
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
    {"n_positions", &Config::positions, 1 << 20, 1, true},
    {"rope_channels", &Config::rope_channels, kMostHeadSize, 2, true},
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
    {"qk_norm", &Config::qk_norm, true},
    {"parallel", &Config::parallel, true},
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
  bool later = false;  // as for sizes
};
constexpr Number kNumbers[] = {{"norm_eps", &Config::norm_eps, 1},
                               {"rope_theta", &Config::rope_theta, kMostTheta},
                               {"logit_cap", &Config::logit_cap, 1e6, true}};

template <class Choice>
struct Words {
  const char* name;
  Choice Config::*field;
  std::vector<std::pair<const char*, Choice>> words;
  bool later = false;  // files from before it do not say it, and have the first
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
  visit(Words<Mlp>{"mlp", &Config::mlp, {{"gated", Mlp::gated},
                                        {"plain", Mlp::plain},
                                        {"channel_mix", Mlp::channel_mix}}});
  visit(Words<NormPlace>{"norm_place", &Config::norm_place, {{"before", NormPlace::before},
                                                             {"after", NormPlace::after},
                                                             {"both", NormPlace::both}}, true});
  visit(Words<NormedHeads>{"qk_norm_over", &Config::normed_heads,
                           {{"head", NormedHeads::each}, {"all", NormedHeads::all}}, true});
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
constexpr const char* kAbsent[] = {"feedback", "real_vocab_size"};

std::invalid_argument wrong(const std::string& name, const std::string& right) {
  return std::invalid_argument(name + ": must be " + right);
}

class Reader {
 public:
  explicit Reader(const Settings& settings) : settings_(settings) {}

  std::int64_t value(const Size& size) const {
    if (missing(size)) return 0;
    const auto* value = std::get_if<std::int64_t>(&get(size.name));
    const std::int64_t least = size.later ? 0 : 1;
    if (value != nullptr && *value >= least && *value <= size.most &&
        *value % size.multiple == 0) {
      return *value;
    }
    const std::string most = std::to_string(size.most), by = std::to_string(size.multiple);
    throw wrong(size.name, size.multiple == 1
                               ? "a whole number from " + std::to_string(least) + " to " + most
                               : "a multiple of " + by + ", at most " + most);
  }

  bool value(const Switch& flag) const {
    if (missing(flag)) return false;
    if (const auto* value = std::get_if<bool>(&get(flag.name))) return *value;
    throw wrong(flag.name, "true or false");
  }

  float value(const Number& number) const {
    if (missing(number)) return 0;
    double value = -1;
    if (const auto* real = std::get_if<double>(&get(number.name))) value = *real;
    if (const auto* whole = std::get_if<std::int64_t>(&get(number.name))) {
      value = static_cast<double>(*whole);
    }
    const bool none = number.later && value == 0;
    if (none || (value > 0 && value <= number.most)) return static_cast<float>(value);
    throw wrong(number.name, "a number above 0, up to " + std::to_string(number.most));
  }

  template <class Choice>
  Choice value(const Words<Choice>& table) const {
    if (missing(table)) return table.words.front().second;
    const auto* word = std::get_if<std::string>(&get(table.name));
    std::string words;
    for (const auto& [text, value] : table.words) {
      if (word != nullptr && *word == text) return value;
      words += (words.empty() ? "" : ", ") + std::string(text);
    }
    throw std::invalid_argument(std::string(table.name) + " = '" + (word ? *word : "") +
                                "': the engine knows " + words);
  }

  // A number from 0 to kMostTheta for every layer, or none at all.
  std::vector<double> by_layer(const std::string& name, std::int64_t layers) const {
    if (settings_.count(name) == 0) return {};
    const auto* found = std::get_if<std::vector<double>>(&get(name));
    bool fits = found != nullptr && static_cast<std::int64_t>(found->size()) == layers;
    if (fits) {
      for (const double value : *found) fits = fits && value >= 0 && value <= kMostTheta;
    }
    if (!fits) {
      throw wrong(name, "null, or " + std::to_string(layers) + " numbers, one for every layer");
    }
    return *found;
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
  template <class Entry>
  bool missing(const Entry& entry) const {
    return entry.later && settings_.count(entry.name) == 0;
  }

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
  c.rope_thetas = read.by_layer("rope_thetas", c.layers);
  if (c.rope_channels > c.head_size) throw wrong("rope_channels", "at most the head size");
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
    result.sizes[size.name] = {size.later ? 0 : size.multiple, size.most, size.multiple};
  }
  for (const Switch& flag : kSwitches) result.switches.emplace_back(flag.name);
  for (const Number& number : kNumbers) {
    result.numbers[number.name] = number.most;
    if (number.later) result.none.emplace_back(number.name);
  }
  result.by_layer["rope_thetas"] = kMostTheta;
  each_words([&](const auto& table) {
    for (const auto& [word, value] : table.words) result.words[table.name].emplace_back(word);
  });
  for (const char* name : kAbsent) result.absent.emplace_back(name);
  result.inner = kMostColumns;
  return result;
}

}  // namespace goose::engine
