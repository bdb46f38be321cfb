// silu(gate) * up and its gradients, in one pass over memory each.
#include "simd_math.h"
#include "train/train.h"

namespace goose::train::GOOSE_ISA {
namespace {

inline Vec sigmoid(Vec x) { return 1.0F / (1.0F + power_of_e(-x)); }

}  // namespace

void gated(const Gate& z, float* y, std::int64_t run) {
  const std::int64_t end = gate_end(z, run);
  for (std::int64_t i = run * kGateRun; i < end; i += kLanes) {
    const Vec gate = load(z.gate + i);
    store(y + i, gate * sigmoid(gate) * load(z.up + i));
  }
}

void gated_back(const Gate& z, const GateGradients& g, std::int64_t run) {
  const std::int64_t end = gate_end(z, run);
  for (std::int64_t i = run * kGateRun; i < end; i += kLanes) {
    const Vec gate = load(z.gate + i), dy = load(g.dy + i), share = sigmoid(gate);
    store(g.dgate + i, dy * load(z.up + i) * (share * (1.0F + gate * (1.0F - share))));
    store(g.dup + i, dy * (gate * share));
  }
}

}  // namespace goose::train::GOOSE_ISA
