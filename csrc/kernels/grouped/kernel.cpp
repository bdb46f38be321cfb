// Products with grouped weights: a group's integers first, then its scale, row after row.
#include "kernels/grouped/grouped.h"
#include "kernels/rows.h"
#include "simd.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

// Codes that are multiplied together: half a group, or a quarter where a vector holds no more. With
// AVX-512 too: a group's scale is met sooner by eight sums than by sixteen.
constexpr int kBytes = GOOSE_VECTOR_BYTES >= 32 ? 32 : 16;
constexpr int kSums = kBytes / 4;
typedef std::uint8_t Bytes __attribute__((vector_size(kBytes)));
typedef std::int16_t Shorts __attribute__((vector_size(kBytes)));
typedef std::int32_t Ints __attribute__((vector_size(kBytes)));
typedef float Floats __attribute__((vector_size(kBytes)));

template <class V>
inline V read(const void* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

#ifdef __AVX2__
// Products of neighbours, added in pairs: of 0 .. 127 and a signed number.
inline Shorts pairs(Bytes a, Bytes b) {
  return (Shorts)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
}
inline Ints add_neighbours(Shorts a) {
  return (Ints)_mm256_madd_epi16((__m256i)a, _mm256_set1_epi16(1));
}
#else
// The same, of two signed numbers.
inline Shorts pairs(Bytes a, Bytes b) {
  const Shorts even = ((Shorts)((Shorts)a << 8) >> 8) * ((Shorts)((Shorts)b << 8) >> 8);
  return even + ((Shorts)a >> 8) * ((Shorts)b >> 8);
}
inline Ints add_neighbours(Shorts a) { return ((Ints)((Ints)a << 16) >> 16) + ((Ints)a >> 16); }
#endif

#ifdef __AVX512VNNI__
inline Ints add_products(Ints sum, Bytes a, Bytes b) {
  return (Ints)_mm256_dpbusd_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
}
#endif

// Sums of code times input over one group; all lanes together are the integer. `sum` is that of the
// inputs.
template <int bits>
Ints group_of(const std::uint8_t* w, const std::int8_t* x, std::int32_t sum);

template <>
inline Ints group_of<4>(const std::uint8_t* w, const std::int8_t* x, std::int32_t) {
  Ints sum = {};
#pragma GCC unroll 2
  for (int i = 0; i < 32; i += kBytes) {
    const Bytes both = read<Bytes>(w + i), low = both & 15, high = (Bytes)((Shorts)both >> 4) & 15;
#ifdef __AVX512VNNI__
    sum = add_products(sum, low, read<Bytes>(x + i));
    sum = add_products(sum, high, read<Bytes>(x + 32 + i));
#else
    // Together at most 4 * 15 * 127, which fits sixteen bits.
    sum += add_neighbours(pairs(low, read<Bytes>(x + i)) + pairs(high, read<Bytes>(x + 32 + i)));
#endif
  }
  return sum;
}

template <>
inline Ints group_of<8>(const std::uint8_t* w, const std::int8_t* x,
                        [[maybe_unused]] std::int32_t inputs) {
#ifdef __AVX512VNNI__
  // Weights are read as w + 128; what that adds is taken off beforehand.
  Ints sum = Ints{} - inputs * (128 / kSums);
#else
  Ints sum = {};
#endif
#pragma GCC unroll 4
  for (int i = 0; i < 64; i += kBytes) {
    const Bytes codes = read<Bytes>(w + i), value = read<Bytes>(x + i);
#if defined(__AVX512VNNI__)
    sum = add_products(sum, codes ^ 128, value);
#elif defined(__AVX2__)
    // Two products are at most 2 * 127 * 127, which fits.
    sum += add_neighbours(pairs((Bytes)_mm256_abs_epi8((__m256i)codes),
                                (Bytes)_mm256_sign_epi8((__m256i)value, (__m256i)codes)));
#else
    sum += add_neighbours(pairs(codes, value));
#endif
  }
  return sum;
}

inline Floats floats_of(const std::uint8_t* bytes) {
#ifdef __AVX2__
  const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight));
#else
  typedef std::uint8_t Few __attribute__((vector_size(kSums)));
  return __builtin_convertvector(__builtin_convertvector(read<Few>(bytes), Ints), Floats);
#endif
}

inline Floats add_product(Floats a, Floats b, Floats sum) {
#ifdef __FMA__
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#else
  return a * b + sum;
#endif
}

constexpr std::int64_t kMostGroups = 1024;  // of 65536 columns

// What the integer of each group of a row counts for; returns what its zeros take off.
template <int bits>
inline Floats worths(const std::uint8_t* sizes, const Octets& x, std::int64_t groups, float* worth) {
  Floats zeros = {};
  // Past the last group the amplitudes are zero.
  for (std::int64_t g = 0; g < groups; g += kSums) {
    const Floats each = floats_of(sizes + g) * read<Floats>(x.amplitude + g);
    __builtin_memcpy(worth + g, &each, sizeof each);
    if (bits == 4) {
      const Floats sums = __builtin_convertvector(read<Ints>(x.sums + g), Floats);
      zeros = add_product(each * floats_of(sizes + groups + g), sums, zeros);
    }
  }
  return zeros;
}

template <int bits>
inline void product(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
                    std::int64_t from, std::int64_t to, std::int32_t ahead) {
  constexpr std::int64_t kCodes = 8 * bits, kPer = bits == 4 ? 2 : 1;
  const std::int64_t bytes = grouped_block(bits, groups);
  alignas(64) float worth[kMostGroups + kSums];
  for (std::int64_t m = from; m < to; m += kRows) {
    const std::uint8_t* block = blocks + m / kRows * bytes;
    const std::uint8_t* sizes = block + kRows * groups * kCodes;
    ask_for(block, bytes, ahead);
    Floats sum[kRows];
    for (int r = 0; r < kRows; ++r) {
      sum[r] = worths<bits>(sizes + r * groups * kPer, x, groups, worth) * (-1 / kZeroes);
      const std::uint8_t* codes = block + r * groups * kCodes;
      for (std::int64_t g = 0; g < groups; ++g) {
        const Ints group = group_of<bits>(codes + g * kCodes, x.codes + 64 * g, x.sums[g]);
        sum[r] = add_product(__builtin_convertvector(group, Floats), Floats{} + worth[g], sum[r]);
      }
    }
    put(sums_of<Four>(sum) * read<Four>(sizes + kRows * groups * kPer), y + m, to - m);
  }
}

}  // namespace

void grouped_4(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
               std::int64_t from, std::int64_t to, std::int32_t ahead) {
  product<4>(blocks, x, y, groups, from, to, ahead);
}

void grouped_8(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
               std::int64_t from, std::int64_t to, std::int32_t ahead) {
  product<8>(blocks, x, y, groups, from, to, ahead);
}

void round_i8(const float* x, const Octets& to, std::int64_t groups) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds halves to even
  for (std::int64_t g = 0; g < groups; ++g, x += 64) {
    Vec most_of = {};
    for (int i = 0; i < 64; i += kLanes) {
      const Vec size = (Vec)((IntVec)load(x + i) & 0x7FFFFFFF);
      most_of = size > most_of ? size : most_of;
    }
    float most = 0;
    for (int i = 0; i < kLanes; ++i) most = most_of[i] > most ? most_of[i] : most;
    const float inverse = inverse_of(most);
    IntVec sum = {};
    for (int i = 0; i < 64; i += kLanes) {
      typedef std::int8_t Few __attribute__((vector_size(kLanes)));
      const Vec rounded = (load(x + i) * inverse + kRound) - kRound;
      // No number, or infinity times the inverse 0, is silent.
      const IntVec codes = __builtin_convertvector(rounded == rounded ? rounded : Vec{}, IntVec);
      const Few few = __builtin_convertvector(codes, Few);
      __builtin_memcpy(to.codes + 64 * g + i, &few, sizeof few);
      sum += codes;
    }
    const FourInts four = folded(sum);
    to.amplitude[g] = inverse > 0 ? most / kOctet : 0.0F;
    to.sums[g] = (four[0] + four[1]) + (four[2] + four[3]);
  }
}

}  // namespace goose::kernels::GOOSE_ISA
