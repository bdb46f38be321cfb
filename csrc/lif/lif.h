// Leaky integrate-and-fire neurons along tokens, as in SpikeGPT (arXiv 2302.13939):
//   m_t = V_{t-1} + (h_t - V_{t-1}) / tau, s_t = 1[m_t > theta], V_t = m_t (1 - s_t).
// Signed neurons fire -1 below -theta too, and are reset by 1 - |s_t|.
#pragma once

#include <cstdint>

namespace goose::lif {

struct Sizes {
  std::int64_t B, T, K;
};

// What a token is beside ordinary (0).
constexpr std::uint8_t kStart = 1;    // membranes are at rest before it
constexpr std::uint8_t kPadding = 2;  // it charges no membrane and does not fire

struct Neuron {
  float tau, theta;
  bool is_signed;
  bool is_detached = false;  // no gradient through the reset
  float alpha = 0;  // of an ATan surrogate (alpha/2) / (1 + (pi alpha u / 2)^2); 0: slopes are given
};

struct Inputs {
  const float* h;             // B,T,K
  const float* state;         // B,K: membranes before the first token
  const std::uint8_t* marks;  // B,T, or null where every token is ordinary
};

struct Outputs {
  float *spikes, *membranes;  // B,T,K; membranes before their reset
  float* state;               // B,K after the last token
};

struct Gradients {
  const float *membranes, *slope;    // B,T,K; slope is ds/dm, null where alpha says it
  const float *dspikes, *dfinal;     // B,T,K; B,K
  float *dh, *dstate;                // B,T,K; B,K
};

// One implementation; both functions do `strip` neurons of one sequence from neuron `k` on.
struct Kernel {
  void (*forward)(const Sizes&, const Neuron&, const Inputs&, const Outputs&, std::int64_t b,
                  std::int64_t k);
  void (*backward)(const Sizes&, const Neuron&, const Inputs&, const Gradients&, std::int64_t b,
                   std::int64_t k);
  std::int64_t strip;
};

// On the selected instruction set, spread over at most `threads` threads. Results do not depend on
// the number of threads.
void forward(const Sizes&, const Neuron&, const Inputs&, const Outputs&, int threads);
void backward(const Sizes&, const Neuron&, const Inputs&, const Gradients&, int threads);

}  // namespace goose::lif
