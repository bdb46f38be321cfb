// Bytes that are to be a state: refused, or the next tokens are read.
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "described.h"
#include "engine/engine.h"

namespace {

using namespace goose::engine;

std::string contents(const char* file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // With learned positions, which are looked up by a number out of the state.
  static const std::string text = contents(GOOSE_FUZZ_CORPUS "/model/positions");
  static const goose::fuzz::Described described(text);
  static Engine engine(described.settings, described.source);
  State state = engine.new_state();
  std::string bytes(reinterpret_cast<const char*>(data), size);
  // So that a few bytes of the fuzzer are enough: its first ones are the position.
  if (size >= 8 && size % 2 == 0) bytes.resize(8 + state.size() * sizeof(float), bytes.back());
  try {
    state.load(bytes.data(), bytes.size());
    const std::int32_t tokens[] = {1, 0};
    std::vector<float> logits(static_cast<std::size_t>(
        2 * std::get<std::int64_t>(described.settings.at("vocab_size"))));
    engine.forward({{&state, tokens, 2}}, logits.data(), true, {0.01F, 1}, 1);
    if (state.position < 2) std::abort();
  } catch (const std::invalid_argument& error) {
    if (error.what()[0] == '\0') std::abort();
  }
  return 0;
}
