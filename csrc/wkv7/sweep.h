// The recurrence with one value row per lane: the first half of kernel.cpp.
#pragma once

#include "simd.h"
#include "wkv7/wkv7.h"

namespace goose::wkv7 {
namespace {

// What one step of a sweep reads and writes: S <- S diag(decay) + p into^T + value key^T, then
// out = S read, and p = S probe for the next step. The last three are offset to the slice.
struct Step {
  const float *decay, *into, *key, *read, *probe;
  const float* value;
  float *out, *probe_out;  // probe_out may be null
};

template <int V>
struct Slice {
  static constexpr int kLanesWide = V * kLanes;
  Vec S[kMaxHeadSize][V];  // [key][value lanes]
  Vec p[V];
};

template <int V>
void load_state(Slice<V>& slice, const float* state, std::int64_t N) {
  float* S = reinterpret_cast<float*>(slice.S);
  for (std::int64_t lane = 0; lane < slice.kLanesWide; ++lane) {
    for (std::int64_t j = 0; j < N; ++j) S[j * slice.kLanesWide + lane] = state[lane * N + j];
  }
}

template <int V>
void store_state(const Slice<V>& slice, float* state, std::int64_t N) {
  const float* S = reinterpret_cast<const float*>(slice.S);
  for (std::int64_t lane = 0; lane < slice.kLanesWide; ++lane) {
    for (std::int64_t j = 0; j < N; ++j) state[lane * N + j] = S[j * slice.kLanesWide + lane];
  }
}

template <int V>
void store_lanes(float* to, const Vec (&lanes)[V]) {
  if (to == nullptr) return;
  for (int u = 0; u < V; ++u) store(to + u * kLanes, lanes[u]);
}

template <int V>
void probe(Slice<V>& slice, const float* with, std::int64_t N) {
  for (int u = 0; u < V; ++u) slice.p[u] = Vec{};
  for (std::int64_t j = 0; j < N; ++j) {
    for (int u = 0; u < V; ++u) slice.p[u] += slice.S[j][u] * with[j];
  }
}

// kN is the head size where it is known while compiling, or 0.
template <int kN, int V, class StepAt>
void sweep(Slice<V>& slice, std::int64_t steps, std::int64_t head_size, const StepAt& step_at) {
  const std::int64_t N = kN > 0 ? kN : head_size;
  for (std::int64_t s = 0; s < steps; ++s) {
    const Step x = step_at(s);
    Vec value[V], p[V], out[V], next[V];
    for (int u = 0; u < V; ++u) {
      value[u] = load(x.value + u * kLanes);
      p[u] = slice.p[u];
      out[u] = next[u] = Vec{};
    }
    for (std::int64_t j = 0; j < N; ++j) {
      for (int u = 0; u < V; ++u) {
        const Vec S = slice.S[j][u] * x.decay[j] + (p[u] * x.into[j] + value[u] * x.key[j]);
        slice.S[j][u] = S;
        out[u] += S * x.read[j];
        next[u] += S * x.probe[j];
      }
    }
    store_lanes(x.out, out);
    store_lanes(x.probe_out, next);
    for (int u = 0; u < V; ++u) slice.p[u] = next[u];
  }
}

// Calls one<kN, V>(lane) for every slice of V vectors. Four vectors share a broadcast of each factor
// and hide the latency of the sums; 16 lanes divide every head size.
template <class One>
void each_slice(std::int64_t N, const One& one) {
  constexpr int kWide = 4, kNarrow = 16 / kLanes;
  std::int64_t lane = 0;
  if (N == 64) {
    for (; lane < N; lane += kWide * kLanes) one.template operator()<64, kWide>(lane);
  } else if (N % (kWide * kLanes) == 0) {
    for (; lane < N; lane += kWide * kLanes) one.template operator()<0, kWide>(lane);
  } else {
    for (; lane < N; lane += kNarrow * kLanes) one.template operator()<0, kNarrow>(lane);
  }
}

}  // namespace
}  // namespace goose::wkv7
