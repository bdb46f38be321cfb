// A whole packed student: refused in words, or it runs.
#include <stdexcept>

#include "described.h"
#include "engine/engine.h"
#include "engine/sampler.h"

namespace {

using namespace goose::engine;

void run(Engine& engine, std::int64_t vocab) {
  State one = engine.new_state(), other = one;
  const auto last = static_cast<std::int32_t>(vocab - 1);
  const std::int32_t tokens[] = {0, last, 0};
  std::vector<float> logits(static_cast<std::size_t>(5 * vocab));
  engine.forward({{&one, tokens, 3}, {&other, tokens, 2}}, logits.data(), true, {0.01F, 1}, 1);
  engine.forward({{&one, tokens, 1}}, logits.data(), false, {}, 1);
  const std::string bytes = one.bytes();
  other.load(bytes.data(), bytes.size());
  engine.forward({{&other, tokens, 1}}, logits.data(), false, {1, 1}, 1);
  const std::int64_t drawn = sample(logits.data(), vocab, {0.8F, 0, 0.9F, 0}, 0.5);
  if (drawn < 0 || drawn >= vocab) std::abort();
  engine.usage();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const goose::fuzz::Described found({reinterpret_cast<const char*>(data), size});
  try {
    Engine engine(found.settings, found.source);
    run(engine, std::get<std::int64_t>(found.settings.at("vocab_size")));
  } catch (const std::invalid_argument& error) {
    if (error.what()[0] == '\0') std::abort();
  }
  return 0;
}
