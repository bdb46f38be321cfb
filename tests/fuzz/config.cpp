// Settings of a student: read, or refused with the setting's name.
#include <stdexcept>

#include "described.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const goose::fuzz::Described found({reinterpret_cast<const char*>(data), size});
  try {
    const goose::engine::Config config = goose::engine::read_config(found.settings);
    if (config.inner() > goose::engine::kMostColumns || config.layers < 1) std::abort();
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      config.rotary_base(static_cast<std::size_t>(layer));
    }
  } catch (const std::invalid_argument& error) {
    if (error.what()[0] == '\0') std::abort();
  }
  return 0;
}
