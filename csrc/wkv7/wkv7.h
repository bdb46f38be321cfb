// WKV-7 for training, in fp32. What comes in: the addresses of whole sequences and a state; what goes
// out: outputs and the last state, or all gradients; what never happens here: one token at a time,
// which is the engine's way (kernels/kernels.h), and checks of shapes, which Python makes.
//
//   S_t = S_{t-1} diag(w_t) + p_t beta_t^T + v_t k_t^T,   p_t = S_{t-1} alpha_t,   y_t = S_t r_t
//
// Peng et al. 2025, arXiv 2503.14456. Sequences are (B,T,H,N) and states (B,H,N,N), [value, key],
// both contiguous; N is a multiple of 16, at most 128.
#pragma once

#include <cstdint>

namespace goose::wkv7 {

constexpr int kMaxHeadSize = 128;

struct Sizes {
  std::int64_t B, T, H, N;
};

struct Inputs {
  const float *r, *w, *k, *v, *alpha, *beta;  // B,T,H,N; w is the decay itself, not its logarithm
  const float* state;                         // B,H,N,N before the first token
};

struct Outputs {
  float *y, *p;  // B,T,H,N; p is what backward needs besides the inputs
  float* state;  // B,H,N,N after the last token
};

struct Gradients {
  const float *p, *dy, *dfinal;                   // p of forward; gradients of y, final state
  float *dr, *dw, *dk, *dv, *dalpha, *dbeta;      // B,T,H,N
  float* dstate;                                  // B,H,N,N
};

// One implementation; both functions do one head (b,h), given as its number b*H + h.
struct Kernel {
  void (*forward)(const Sizes&, const Inputs&, const Outputs&, std::int64_t head);
  void (*backward)(const Sizes&, const Inputs&, const Gradients&, std::int64_t head,
                   float* scratch);
  std::int64_t (*scratch)(const Sizes&);  // floats of scratch for backward, 64-byte aligned
};

// On the selected instruction set, heads spread over at most `threads` threads. Results do not
// depend on the number of threads.
void forward(const Sizes&, const Inputs&, const Outputs&, int threads);
void backward(const Sizes&, const Inputs&, const Gradients&, int threads);

}  // namespace goose::wkv7
