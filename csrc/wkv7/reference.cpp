// The plain loops that kernel.cpp is measured against: one element at a time, in double.
#include <vector>

#include "wkv7/head.h"
#include "wkv7/wkv7.h"

namespace goose::wkv7::reference {
namespace {

using Matrix = std::vector<double>;  // N,N, [value, key]

// The row of S that belongs to value channel i, from S_{t-1} to S_t; returns p_t[i].
double step(const Sizes& z, const Inputs& in, std::int64_t row, std::int64_t i, double* S) {
  double p = 0;
  for (std::int64_t j = 0; j < z.N; ++j) p += S[j] * in.alpha[row + j];
  for (std::int64_t j = 0; j < z.N; ++j) {
    S[j] = S[j] * in.w[row + j] + p * in.beta[row + j] + double(in.v[row + i]) * in.k[row + j];
  }
  return p;
}

void forward(const Sizes& z, const Inputs& in, const Outputs& out, std::int64_t number) {
  const Head head(z, number);
  for (std::int64_t i = 0; i < z.N; ++i) {
    const float* start = in.state + head.state + i * z.N;
    std::vector<double> S(start, start + z.N);
    for (std::int64_t t = 0; t < z.T; ++t) {
      const std::int64_t row = head.row(t);
      const double p = step(z, in, row, i, S.data());
      out.p[row + i] = float(p);
      double y = 0;
      for (std::int64_t j = 0; j < z.N; ++j) y += S[j] * in.r[row + j];
      out.y[row + i] = float(y);
    }
    for (std::int64_t j = 0; j < z.N; ++j) out.state[head.state + i * z.N + j] = float(S[j]);
  }
}

std::vector<Matrix> all_states(const Sizes& z, const Inputs& in, const Head& head) {
  const float* start = in.state + head.state;
  std::vector<Matrix> states{Matrix(start, start + z.N * z.N)};
  for (std::int64_t t = 0; t < z.T; ++t) {
    states.push_back(states.back());
    for (std::int64_t i = 0; i < z.N; ++i) {
      step(z, in, head.row(t), i, states.back().data() + i * z.N);
    }
  }
  return states;
}

struct StepGradients {
  explicit StepGradients(std::int64_t N) : r(N), w(N), k(N), alpha(N), beta(N) {}
  std::vector<double> r, w, k, alpha, beta;
};

// Value channel i of one step backwards: turns dL/dS_t of later steps into dL/dS_{t-1}.
void step_back(const Sizes& z, const Inputs& in, const Gradients& out, std::int64_t row,
               std::int64_t i, const double* S_before, const double* S, double* G,
               StepGradients& d) {
  const double dy = out.dy[row + i], v = in.v[row + i];
  double p = 0, q = 0, dv = 0;
  for (std::int64_t j = 0; j < z.N; ++j) {
    G[j] += dy * in.r[row + j];
    p += S_before[j] * in.alpha[row + j];
    q += G[j] * in.beta[row + j];
    dv += G[j] * in.k[row + j];
  }
  for (std::int64_t j = 0; j < z.N; ++j) {
    d.r[j] += S[j] * dy;
    d.w[j] += S_before[j] * G[j];
    d.k[j] += G[j] * v;
    d.beta[j] += G[j] * p;
    d.alpha[j] += S_before[j] * q;
    G[j] = G[j] * in.w[row + j] + q * in.alpha[row + j];
  }
  out.dv[row + i] = float(dv);
}

void backward(const Sizes& z, const Inputs& in, const Gradients& out, std::int64_t number, float*) {
  const Head head(z, number);
  const std::vector<Matrix> states = all_states(z, in, head);
  Matrix G(out.dfinal + head.state, out.dfinal + head.state + z.N * z.N);
  for (std::int64_t t = z.T - 1; t >= 0; --t) {
    const std::int64_t row = head.row(t);
    StepGradients d(z.N);
    for (std::int64_t i = 0; i < z.N; ++i) {
      step_back(z, in, out, row, i, states[t].data() + i * z.N, states[t + 1].data() + i * z.N,
                G.data() + i * z.N, d);
    }
    for (std::int64_t j = 0; j < z.N; ++j) {
      out.dr[row + j] = float(d.r[j]);
      out.dw[row + j] = float(d.w[j]);
      out.dk[row + j] = float(d.k[j]);
      out.dalpha[row + j] = float(d.alpha[j]);
      out.dbeta[row + j] = float(d.beta[j]);
    }
  }
  for (std::int64_t e = 0; e < z.N * z.N; ++e) out.dstate[head.state + e] = float(G[e]);
}

}  // namespace

extern const Kernel kernel{forward, backward, [](const Sizes&) -> std::int64_t { return 0; }};

}  // namespace goose::wkv7::reference
