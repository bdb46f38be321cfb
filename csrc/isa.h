// Which instruction set the kernels run on, decided at run time.
#pragma once

#include <string_view>
#include <vector>

namespace goose {

// `reference` are the plain loops beside every kernel: slow, always available, for tests. `avx512vnni`
// is `avx512` with dot products of bytes, where a kernel has a use for them.
enum class Isa { reference, baseline, avx2, avx512, avx512vnni };

std::string_view name(Isa isa);

// What this build holds and this machine can run, slowest first.
std::vector<Isa> available_isas();

// The fastest available one, or the one named by the environment variable ASNN_GOOSE_ISA.
// Throws std::invalid_argument where that names an unknown or unavailable one.
Isa selected_isa();

}  // namespace goose
