// Dense products, row after row; sums over lanes are taken for four rows together.
#include "kernels/dense/dense.h"
#include "kernels/dense/half.h"
#include "kernels/dense/screen.h"
#include "kernels/rows.h"
#include "simd.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

inline Vec load(const std::uint16_t* half) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_cvtph_ps(
      static_cast<__mmask16>(0xFFFF),  // GCC 12 warns of the plain one
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half)));
#elif defined(__F16C__)
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
#else
  Vec x;
  for (int i = 0; i < kLanes; ++i) x[i] = single_of_half(half[i]);
  return x;
#endif
}
using goose::load;

// Sums of kRows rows.
template <class Weight>
inline Four rows_of(const Weight* w, const float* x, std::int64_t width, Asking& asking) {
  Vec sum[kRows] = {};
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r, w += width) {
    asking.ask(width * static_cast<std::int64_t>(sizeof(Weight)));
    Vec other = {};
    for (std::int64_t k = 0; k < width; k += 2 * kLanes) {
      sum[r] += load(w + k) * goose::load(x + k);
      other += load(w + k + kLanes) * goose::load(x + k + kLanes);
    }
    sum[r] += other;
  }
  return sums_of<Four>(sum);
}

template <class Weight>
inline void product(const Weight* w, const float* x, float* y, std::int64_t width,
                    std::int64_t from, std::int64_t to, std::int32_t ahead) {
  Asking asking(w + from * width, ahead);
  for (std::int64_t m = from; m < to; m += kRows) {
    put(rows_of(w + m * width, x, width, asking), y + m, to - m);
  }
}

constexpr int kBytes = GOOSE_VECTOR_BYTES / 2;  // int8 weights that fill a vector of int16
typedef std::int8_t Bytes __attribute__((vector_size(kBytes)));
typedef std::int16_t Shorts __attribute__((vector_size(GOOSE_VECTOR_BYTES)));

// Sums of products of neighbours.
inline IntVec multiply_add(Shorts a, Shorts b) {
#if defined(__AVX512BW__)
  return (IntVec)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (IntVec)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (IntVec)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  IntVec sum;
  for (int i = 0; i < kLanes; ++i) sum[i] = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
  return sum;
#endif
}

inline Shorts widened(const std::int8_t* w) {
  Bytes bytes;
  __builtin_memcpy(&bytes, w, sizeof bytes);
#if defined(__AVX512BW__)
  return (Shorts)_mm512_maskz_cvtepi8_epi16(~0u, (__m256i)bytes);
#elif defined(__AVX2__)
  return (Shorts)_mm256_cvtepi8_epi16((__m128i)bytes);
#else
  return __builtin_convertvector(bytes, Shorts);
#endif
}

inline IntVec row_of(const std::int8_t* w, const std::int16_t* x, std::int64_t width) {
  IntVec sum = {};
  for (std::int64_t k = 0; k < width; k += 64) {
#pragma GCC unroll 8
    for (int i = 0; i < 64; i += kBytes) {
      Shorts value;
      __builtin_memcpy(&value, x + k + i, sizeof value);
      sum += multiply_add(widened(w + k + i), value);
    }
  }
  return sum;
}

inline FourInts rows_of(const std::int8_t* w, const std::int16_t* x, std::int64_t width,
                        Asking& asking) {
  IntVec sum[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    asking.ask(width);
    sum[r] = row_of(w + r * width, x, width);
  }
  return sums_of<FourInts>(sum);
}

// Of 64 inputs those that meet a vector of lower and of upper halves: 32 of each, or 16 where a
// vector holds no more.
constexpr int kHalf = GOOSE_VECTOR_BYTES >= 32 ? 32 : 16;
typedef std::uint8_t HalfNibbles __attribute__((vector_size(kHalf)));
typedef std::int16_t HalfShorts __attribute__((vector_size(kHalf)));
typedef std::int32_t HalfInts __attribute__((vector_size(kHalf)));

inline HalfShorts multiply_nibbles(HalfNibbles a, const std::int8_t* x) {
  HalfNibbles b;
  __builtin_memcpy(&b, x, sizeof b);
#if defined(__AVX2__)
  return (HalfShorts)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
#else
  const HalfShorts even = ((HalfShorts)a & 255) * ((HalfShorts)((HalfShorts)b << 8) >> 8);
  return even + (((HalfShorts)a >> 8) & 255) * ((HalfShorts)b >> 8);
#endif
}

inline HalfInts add_neighbours(HalfShorts a) {
#if defined(__AVX2__)
  return (HalfInts)_mm256_madd_epi16((__m256i)a, _mm256_set1_epi16(1));
#else
  return ((HalfInts)((HalfInts)a << 16) >> 16) + ((HalfInts)a >> 16);
#endif
}

constexpr int kSums = 4;  // times 64 columns fit 16 bits: 2 * 2 * 15 * 127 each, 30480 in all

inline FourInts screen_row(const std::uint8_t* w, const std::int8_t* x, std::int64_t width) {
  HalfInts sum = {};
  for (std::int64_t from = 0; from < width; from += 64 * kSums) {
    const std::int64_t to = width - from < 64 * kSums ? width : from + 64 * kSums;
    HalfShorts some = {};
    for (std::int64_t k = from; k < to; k += 64, w += 32) {
#pragma GCC unroll 2
      for (int i = 0; i < 32; i += kHalf) {
        HalfNibbles bytes;
        __builtin_memcpy(&bytes, w + i, sizeof bytes);
        const auto upper = (HalfNibbles)((HalfShorts)((HalfShorts)bytes >> 4)) & 15;
        some += multiply_nibbles(bytes & 15, x + k + i);
        some += multiply_nibbles(upper, x + k + 32 + i);
      }
    }
    sum += add_neighbours(some);
  }
  return parts_of<FourInts>(sum);
}

inline FourInts screen_rows(const std::uint8_t* w, const std::int8_t* x, std::int64_t width,
                            Asking& asking) {
  FourInts row[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    asking.ask(width / 2);
    row[r] = screen_row(w + r * width / 2, x, width);
  }
  return transposed_sums(row[0], row[1], row[2], row[3]);
}

}  // namespace

std::int32_t row_i8(const std::int8_t* w, const std::int16_t* x, std::int64_t width,
                    std::int64_t row) {
  const FourInts four = folded(row_of(w + row * width, x, width));
  return four[0] + four[1] + four[2] + four[3];
}

void screen(const std::uint8_t* nibbles, const float* scale, const std::int8_t* x, float amplitude,
            float* y, std::int64_t width, std::int64_t from, std::int64_t to, std::int32_t ahead) {
  std::int32_t inputs = 0;
  for (std::int64_t k = 0; k < width; ++k) inputs += x[k];
  Asking asking(nibbles + from * width / 2, ahead);
  for (std::int64_t m = from; m < to; m += kRows) {
    const FourInts levels = screen_rows(nibbles + m * width / 2, x, width, asking);
    Four scales = {}, value;
    __builtin_memcpy(&scales, scale + m, to - m >= kRows ? sizeof scales : (to - m) * sizeof(float));
    for (int r = 0; r < kRows; ++r) value[r] = screened(levels[r], inputs);
    put(scales * amplitude * value, y + m, to - m);
  }
}

void dense_f32(const float* w, const float* x, float* y, std::int64_t width, std::int64_t from,
               std::int64_t to, std::int32_t ahead) {
  product(w, x, y, width, from, to, ahead);
}

void dense_f16(const std::uint16_t* w, const float* x, float* y, std::int64_t width,
               std::int64_t from, std::int64_t to, std::int32_t ahead) {
  product(w, x, y, width, from, to, ahead);
}

void dense_i8(const std::int8_t* w, const float* scale, const std::int16_t* x, float amplitude,
              float* y, std::int64_t width, std::int64_t from, std::int64_t to, std::int32_t ahead) {
  Asking asking(w + from * width, ahead);
  for (std::int64_t m = from; m < to; m += kRows) {
    const FourInts sums = rows_of(w + m * width, x, width, asking);
    Four scales = {};
    __builtin_memcpy(&scales, scale + m, to - m >= kRows ? sizeof scales : (to - m) * sizeof(float));
    put(scales * amplitude * __builtin_convertvector(sums, Four), y + m, to - m);
  }
}

float round_i16(const float* x, std::int16_t* x16, std::int64_t width, std::int32_t limit) {
  Vec most_of = {};
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const Vec size = (Vec)((IntVec)load(x + i) & 0x7FFFFFFF);
    most_of = size > most_of ? size : most_of;
  }
  float most = 0;
  for (int i = 0; i < kLanes; ++i) most = most_of[i] > most ? most_of[i] : most;
  const float inverse =
      most > 0 && most < __builtin_inff() ? static_cast<float>(limit) / most : 0.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds halves to even
  for (std::int64_t i = 0; i < width; i += kLanes) {
    typedef std::int16_t Half __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
    const Vec rounded = (load(x + i) * inverse + kRound) - kRound;
    const Half codes = __builtin_convertvector(__builtin_convertvector(rounded, IntVec), Half);
    __builtin_memcpy(x16 + i, &codes, sizeof codes);
  }
  return inverse > 0 ? most / static_cast<float>(limit) : 0.0F;
}

}  // namespace goose::kernels::GOOSE_ISA
