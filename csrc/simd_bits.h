// Adders on vectors of bits, as wide as a segment of a ternary matrix.
//
// A column contributes weight + 1, that is two bits: (+1) and not (-1). Bits of equal worth are
// added by full adders into one bit of that worth and carries of twice the worth. Carries travel in
// pairs. Without ternary logic a pair is (first, not (first xor second)), the form of the modified
// double full adder: eight operations for two full adders instead of ten.
#pragma once

#include <cstdint>
#ifdef __AVX512VL__
#include <immintrin.h>
#endif

namespace goose {
namespace {

typedef std::uint64_t Bits256 __attribute__((vector_size(32)));
typedef std::uint64_t Bits512 __attribute__((vector_size(64)));

template <class V>
struct Pair {
  V first, second;
};

#ifdef __AVX512VL__

template <int table>
inline Bits256 logic(Bits256 a, Bits256 b, Bits256 c) {
  return (Bits256)_mm256_ternarylogic_epi64((__m256i)a, (__m256i)b, (__m256i)c, table);
}
template <int table>
inline Bits512 logic(Bits512 a, Bits512 b, Bits512 c) {
  return (Bits512)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, table);
}

constexpr int kSum = 0x96;       // a ^ b ^ c
constexpr int kMajority = 0xE8;  // at least two of a, b, c

// Adds weight + 1 (plus) or 1 - weight (minus) of one column to z; returns the carry. Of the bits
// (positive, nonzero, z): nonzero decides between z and the sign.
template <bool minus, class V>
inline V add_column(V& z, V positive, V nonzero) {
  constexpr int carry = minus ? 0x2E : 0xE2;
  const V out = logic<carry>(positive, nonzero, z);
  z = ~(nonzero ^ z);
  return out;
}

template <bool minus, class V>
inline Pair<V> add_columns(V& z, V a1, V n1, V a2, V n2) {
  const V first = add_column<minus>(z, a1, n1);
  return {first, add_column<minus>(z, a2, n2)};
}

// Two bits of equal worth, or with `not_them` their complements, as a pair.
template <bool not_them, class V>
inline Pair<V> pair_of(V a, V b) {
  if constexpr (not_them) return {~a, ~b};
  return {a, b};
}

template <class V>
inline V add_pair(V& z, Pair<V> p) {
  const V carry = logic<kMajority>(z, p.first, p.second);
  z = logic<kSum>(z, p.first, p.second);
  return carry;
}

template <class V>
inline Pair<V> add_pairs(V& z, Pair<V> p, Pair<V> q) {
  const V first = add_pair(z, p);
  return {first, add_pair(z, q)};
}

#else

template <bool minus, class V>
inline Pair<V> add_columns(V& z, V a1, V n1, V a2, V n2) {
  const V u = a1 ^ z;
  const V w = minus ? n1 & u : n1 & ~u;
  const V s = z ^ n1;
  const V r = a2 ^ s;
  z = s ^ n2;
  return {w ^ s, w ^ (minus ? n2 & r : n2 & ~r)};
}

template <bool not_them, class V>
inline Pair<V> pair_of(V a, V b) {
  return {not_them ? ~a : a, ~(a ^ b)};
}

template <class V>
inline V add_pair(V& z, Pair<V> p) {
  const V carry = p.first ^ (~p.second & (p.first ^ z));
  z = ~(z ^ p.second);
  return carry;
}

template <class V>
inline Pair<V> add_pairs(V& z, Pair<V> p, Pair<V> q) {
  return add_columns<false>(z, p.first, p.second, q.first, q.second);
}

#endif

// Adds a pair to counters z[level], z[level + 1], ... below z[planes].
template <class V>
inline void ripple(V* z, int level, int planes, Pair<V> p) {
  V carry = add_pair(z[level], p);
  for (int i = level + 1; i < planes; ++i) {
    const V sum = z[i] ^ carry;
    carry &= z[i];
    z[i] = sum;
  }
}

// Eight planes of bits in, eight vectors of bytes out: byte i of w[b] is the number whose bits
// stand at position 8 i + b of the planes.
template <class V>
inline void bytes_of_planes(V* w) {
  constexpr std::uint64_t kMasks[3] = {0x0F0F0F0F0F0F0F0F, 0x3333333333333333, 0x5555555555555555};
  for (int stage = 0; stage < 3; ++stage) {
    const int d = 4 >> stage;
    for (int i = 0; i < 8; ++i) {
      if (i & d) continue;
      const V t = ((w[i] >> d) ^ w[i + d]) & kMasks[stage];
      w[i + d] ^= t;
      w[i] ^= t << d;
    }
  }
}

}  // namespace
}  // namespace goose
