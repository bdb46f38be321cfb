// Any logits, and any settings that Python lets through: a token of the vocabulary is drawn.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/sampler.h"

namespace {

template <class T>
T taken(const std::uint8_t*& data, std::size_t& size) {
  T value{};
  const std::size_t bytes = size < sizeof value ? size : sizeof value;
  std::memcpy(&value, data, bytes);
  data += bytes;
  size -= bytes;
  return value;
}

float within(std::uint16_t number) { return static_cast<float>(number) / 65535.0F; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace goose::engine;
  const float temperature = 4 * within(taken<std::uint16_t>(data, size));
  const std::int64_t top_k = taken<std::uint8_t>(data, size);
  const float top_p = within(taken<std::uint16_t>(data, size));
  const float min_p = within(taken<std::uint16_t>(data, size));
  const double uniform = taken<std::uint32_t>(data, size) / 4294967296.0;
  std::vector<float> logits(size / sizeof(float));
  if (logits.empty() || top_p <= 0) return 0;
  std::memcpy(logits.data(), data, logits.size() * sizeof(float));
  const auto vocab = static_cast<std::int64_t>(logits.size());
  const Sampling sampling{temperature, top_k, top_p, min_p};
  const std::int64_t drawn = sample(logits.data(), vocab, sampling, uniform);
  if (drawn < 0 || drawn >= vocab) std::abort();
  std::vector<std::int64_t> tokens(logits.size());
  std::vector<double> probabilities(logits.size());
  const std::int64_t kept =
      distribution(logits.data(), vocab, sampling, tokens.data(), probabilities.data());
  double sum = 0;
  for (std::int64_t i = 0; i < kept; ++i) sum += probabilities[static_cast<std::size_t>(i)];
  if (kept < 1 || kept > vocab || !(std::abs(sum - 1) < 1e-6)) std::abort();
  return 0;
}
