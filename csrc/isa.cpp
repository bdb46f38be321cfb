#include "isa.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace goose {

std::string_view name(Isa isa) {
  switch (isa) {
    case Isa::reference: return "reference";
    case Isa::baseline: return "baseline";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512vnni: return "avx512vnni";
  }
  return "unknown";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas{Isa::reference, Isa::baseline};
#ifdef GOOSE_X86
  // Every processor with AVX2 converts half precision (F16C), which older Clang cannot ask for.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    isas.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      isas.push_back(Isa::avx512);
      if (__builtin_cpu_supports("avx512vnni")) isas.push_back(Isa::avx512vnni);
    }
  }
#endif
  return isas;
}

Isa selected_isa() {
  static const std::vector<Isa> isas = available_isas();
  const char* wanted = std::getenv("ASNN_GOOSE_ISA");
  if (wanted == nullptr || *wanted == '\0') return isas.back();
  const auto found =
      std::find_if(isas.begin(), isas.end(), [&](Isa isa) { return name(isa) == wanted; });
  if (found != isas.end()) return *found;
  std::string names;
  for (const Isa isa : isas) names += (names.empty() ? "" : ", ") + std::string(name(isa));
  throw std::invalid_argument("ASNN_GOOSE_ISA is '" + std::string(wanted) +
                              "', but this build and machine offer: " + names);
}

}  // namespace goose
