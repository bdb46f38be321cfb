// Products of tokens and ternary matrices by tables of sums, the method of the four Russians (T-MAC,
// arXiv 2407.00088, reads weights that way).
//
// Of every four numbers that are to be summed all 81 sums with signs 1, -1 or 0 are made once, for as
// many tokens as a vector has lanes; then an output costs one addition for four products, where
// multiplying costs one instruction for each. Forward the numbers are the tokens' integers, whose
// sums are exact in sixteen bits; backward they are gradients times the scales, in fp32.
#include "simd.h"
#include "train/train.h"

namespace goose::train::GOOSE_ISA {
namespace {

typedef std::int16_t Shorts __attribute__((vector_size(GOOSE_VECTOR_BYTES)));
typedef std::uint8_t EightBytes __attribute__((vector_size(8)));
typedef std::int16_t EightShorts __attribute__((vector_size(16)));
typedef std::uint16_t EightPlaces __attribute__((vector_size(16)));
typedef std::uint8_t GroupBytes __attribute__((vector_size(kGroup)));
typedef std::uint32_t GroupFours __attribute__((vector_size(kGroup)));

typedef std::uint8_t StripBytes __attribute__((vector_size(16)));

constexpr int kStrip = sizeof(StripBytes);  // columns at a time
constexpr int kSums = 81, kNothing = 40;  // sums of a table; the one with no number in it
constexpr std::int64_t kShorts = sizeof(Shorts) / sizeof(std::int16_t);

// All sums of four numbers with the signs of places: 27, 9, 3 and 1 for each of the four, up or down.
template <class V>
void tabulate(const V* x, V* table) {
  const V nothing{};
  V two[2][9];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const V a = x[2 * half], b = x[2 * half + 1], sum = a + b, difference = a - b;
    const V found[9] = {-sum, -a, -difference, -b, nothing, b, difference, a, sum};
    for (int i = 0; i < 9; ++i) two[half][i] = found[i];
  }
#pragma GCC unroll 9
  for (int j = 0; j < 9; ++j) {
#pragma GCC unroll 9
    for (int i = 0; i < 9; ++i) table[9 * i + j] = two[0][i] + two[1][j];
  }
}

// The sums of some groups of numbers that every output asks for.
template <class V>
void sweep(const V* x, std::int64_t groups, std::int64_t outputs, const std::uint16_t* places,
           V* sums) {
  alignas(64) V table[kPlaces * kSums];
  for (std::int64_t group = 0; group < groups; ++group) {
    for (int i = 0; i < kPlaces; ++i) tabulate(x + group * kGroup + 4 * i, table + i * kSums);
    const char* from = reinterpret_cast<const char*>(table);
    for (std::int64_t o = 0; o < outputs; ++o, places += kPlaces) {
      // Four places in one load: loads are what there are too few of.
      std::uint64_t four[kPlaces / 4];
      __builtin_memcpy(four, places, sizeof four);
      V sum = group == 0 ? V{} : sums[o];
#pragma GCC unroll 8
      for (int i = 0; i < kPlaces; ++i) {
        const std::uint64_t place = four[i / 4] >> 16 * (i % 4) & 0xFFFF;
        sum += *reinterpret_cast<const V*>(from + i * kSums * sizeof(V) + place);
      }
      sums[o] = sum;
    }
  }
}

// Bytes of eight by eight, in rows: to columns.
inline void transpose_bytes(std::uint64_t (&x)[8]) {
  constexpr std::uint64_t kLow[3] = {0x00000000FFFFFFFF, 0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF};
  for (int round = 0; round < 3; ++round) {
    const int apart = 4 >> round, bits = 32 >> round;
    for (int i = 0; i < 8; ++i) {
      if (i & apart) continue;
      const std::uint64_t swapped = ((x[i] >> bits) ^ x[i + apart]) & kLow[round];
      x[i + apart] ^= swapped;
      x[i] ^= swapped << bits;
    }
  }
}

// to (columns, rows) = from (rows, columns), with the strides between rows given.
void transpose(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t columns,
               float* to, std::int64_t to_stride) {
  const std::int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (std::int64_t c = 0; c < whole_columns; c += 4) {
    for (std::int64_t r = 0; r < whole_rows; r += 4) {
      Four x[4];
      for (int i = 0; i < 4; ++i) __builtin_memcpy(&x[i], from + (r + i) * stride + c, sizeof(Four));
      const Four ab = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
      const Four cd = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
      const Four ef = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
      const Four gh = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
      const Four found[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5),
                             __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                             __builtin_shufflevector(ef, gh, 0, 1, 4, 5),
                             __builtin_shufflevector(ef, gh, 2, 3, 6, 7)};
      for (int i = 0; i < 4; ++i) {
        __builtin_memcpy(to + (c + i) * to_stride + r, &found[i], sizeof(Four));
      }
    }
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t done = r < whole_rows ? whole_columns : 0;
    for (std::int64_t c = done; c < columns; ++c) to[c * to_stride + r] = from[r * stride + c];
  }
}

std::int64_t padded(std::int64_t summed) { return groups_of(summed) * kGroup; }
std::int64_t tokens_in(std::int64_t tokens, std::int64_t block, std::int64_t lanes) {
  const std::int64_t left = tokens - block * lanes;
  return left < lanes ? left : lanes;
}

// Forward: columns are summed, the rows of all planes are outputs --------------------------------

void places_of_columns(const Product& p, std::int64_t group, std::uint16_t* places) {
  const std::int64_t columns = p.matrix.columns, first = group * kGroup;
  const std::int64_t there = columns - first < kGroup ? columns - first : kGroup;
  for (std::int64_t row = 0; row < p.matrix.planes * p.matrix.rows; ++row, places += kPlaces) {
    GroupBytes codes{};
    const std::int8_t* from = p.matrix.codes + row * columns + first;
    if (there == kGroup) {
      __builtin_memcpy(&codes, from, kGroup);
    } else {
      __builtin_memcpy(&codes, from, static_cast<std::size_t>(there));
    }
    // 27 a + 9 b + 3 c + d of four bytes comes out as the highest byte of one product.
    const GroupFours found = ((GroupFours)(codes + 1) * 0x1B090301 >> 24) * GOOSE_VECTOR_BYTES;
    const EightPlaces eight = __builtin_convertvector(found, EightPlaces);
    __builtin_memcpy(places, &eight, sizeof eight);
  }
}

struct Forward {
  explicit Forward(const Product& p)
      : outputs(p.matrix.planes * p.matrix.rows), summed(padded(p.matrix.columns)) {}
  std::int64_t levels() const { return kShorts * summed; }
  std::int64_t bytes() const {
    return levels() + (summed + outputs) * std::int64_t{sizeof(Shorts)} +
           outputs * kShorts * std::int64_t{sizeof(float)};
  }
  std::int64_t outputs, summed;
};

// x (summed) = integers of a block of tokens; what is beyond the last column or token is nothing.
void load_integers(const Product& p, std::int64_t token, std::int64_t count, std::uint8_t* levels,
                   std::int64_t summed, Shorts* x) {
  const auto columns = static_cast<std::size_t>(p.matrix.columns);
  for (std::int64_t t = 0; t < kShorts; ++t) {
    std::uint8_t* to = levels + t * summed;
    const std::size_t there = t < count ? columns : 0;
    if (there > 0) __builtin_memcpy(to, p.levels + (token + t) * p.matrix.columns, there);
    __builtin_memset(to + there, p.top, static_cast<std::size_t>(summed) - there);
  }
  for (std::int64_t t = 0; t < kShorts; t += 8) {
    for (std::int64_t k = 0; k < summed; k += 8) {
      std::uint64_t tile[8];
      for (int i = 0; i < 8; ++i) __builtin_memcpy(&tile[i], levels + (t + i) * summed + k, 8);
      transpose_bytes(tile);
      for (int i = 0; i < 8; ++i) {
        const auto column = __builtin_convertvector((EightBytes)tile[i], EightShorts);
        const EightShorts found = column - static_cast<std::int16_t>(p.top);
        __builtin_memcpy(reinterpret_cast<std::int16_t*>(x + k + i) + t, &found, sizeof found);
      }
    }
  }
}

// sums (outputs, tokens of the block), or what is added to them, in fp32, where they stay exact.
void widen(const Shorts* part, std::int64_t outputs, bool begins, float* sums) {
  typedef std::int16_t Half __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
  const auto* from = reinterpret_cast<const std::int16_t*>(part);
  for (std::int64_t i = 0; i < outputs * kShorts; i += kLanes) {
    Half half;
    __builtin_memcpy(&half, from + i, sizeof half);
    const Vec x = __builtin_convertvector(half, Vec);
    store(sums + i, begins ? x : load(sums + i) + x);
  }
}

// The first plane's sums (rows, tokens of the block) become y.
void scale(const Product& p, std::int64_t token, std::int64_t count, float* sums) {
  float amplitude[kShorts] = {};
  for (std::int64_t t = 0; t < count; ++t) amplitude[t] = p.amplitude[token + t];
  const float* scales = p.matrix.scales;
  const std::int64_t rows = p.matrix.rows;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t t = 0; t < kShorts; t += kLanes) {
      float* to = sums + row * kShorts + t;
      Vec y = load(to) * scales[row];
      if (p.matrix.planes == 2) y += load(to + rows * kShorts) * scales[rows + row];
      store(to, load(amplitude + t) * y);
    }
  }
}

void block_of(const Product& p, const std::uint16_t* places, std::int64_t block, void* scratch) {
  const Forward sizes(p);
  const std::int64_t token = block * kShorts, count = tokens_in(p.tokens, block, kShorts);
  auto* x = static_cast<Shorts*>(scratch);
  Shorts* part = x + sizes.summed;
  auto* sums = reinterpret_cast<float*>(part + sizes.outputs);
  auto* levels = reinterpret_cast<std::uint8_t*>(sums + sizes.outputs * kShorts);
  load_integers(p, token, count, levels, sizes.summed, x);
  const std::int64_t groups = groups_of(p.matrix.columns), safe = 32767 / (p.top * kGroup);
  for (std::int64_t from = 0; from < groups; from += safe) {
    const std::int64_t some = groups - from < safe ? groups - from : safe;
    const std::uint16_t* of_some = places + from * sizes.outputs * kPlaces;
    sweep(x + from * kGroup, some, sizes.outputs, of_some, part);
    widen(part, sizes.outputs, from == 0, sums);
  }
  scale(p, token, count, sums);
  transpose(sums, kShorts, p.matrix.rows, count, p.y + token * p.matrix.rows, p.matrix.rows);
}

// Backward: the rows of all planes are summed, columns are outputs -------------------------------

void places_of_rows(const ProductBack& p, std::int64_t group, std::uint16_t* places) {
  const std::int64_t columns = p.matrix.columns, rows = p.matrix.planes * p.matrix.rows;
  for (std::int64_t k = 0; k < columns; k += kStrip) {
    std::uint64_t tiles[kStrip / 8][kPlaces];
    for (int i = 0; i < kPlaces; ++i) {
      StripBytes index{};
      for (std::int64_t row = group * kGroup + 4 * i; row < group * kGroup + 4 * i + 4; ++row) {
        StripBytes code{};
        if (row < rows) __builtin_memcpy(&code, p.matrix.codes + row * columns + k, sizeof code);
        index = index + index + index + code;
      }
      index += kNothing;
      for (int tile = 0; tile < kStrip / 8; ++tile) {
        __builtin_memcpy(&tiles[tile][i], reinterpret_cast<char*>(&index) + 8 * tile, 8);
      }
    }
    for (auto& tile : tiles) {
      transpose_bytes(tile);
      for (const std::uint64_t column : tile) {
        const auto index = __builtin_convertvector((EightBytes)column, EightPlaces);
        const EightPlaces eight = index * GOOSE_VECTOR_BYTES;
        __builtin_memcpy(places, &eight, sizeof eight);
        places += kPlaces;
      }
    }
  }
}

std::int64_t bytes_back(const ProductBack& p) {
  return (padded(p.matrix.planes * p.matrix.rows) + p.matrix.columns) * std::int64_t{sizeof(Vec)};
}

void block_back(const ProductBack& p, const std::uint16_t* places, std::int64_t block,
                void* scratch) {
  const Planes& m = p.matrix;
  const std::int64_t token = block * kLanes, count = tokens_in(p.tokens, block, kLanes);
  const std::int64_t rows = m.planes * m.rows, summed = padded(rows);
  auto* x = static_cast<Vec*>(scratch);
  Vec* sums = x + summed;
  if (count < kLanes) __builtin_memset(x, 0, sizeof(Vec) * static_cast<std::size_t>(m.rows));
  transpose(p.dy + token * m.rows, m.rows, count, m.rows, reinterpret_cast<float*>(x), kLanes);
  for (std::int64_t row = rows; row-- > 0;) x[row] = x[row % m.rows] * m.scales[row];
  for (std::int64_t row = rows; row < summed; ++row) x[row] = Vec{};
  sweep(x, groups_of(rows), m.columns, places, sums);
  transpose(reinterpret_cast<float*>(sums), kLanes, m.columns, count, p.dvalues + token * m.columns,
            m.columns);
}

}  // namespace

const Tables<Product> product{kShorts, places_of_columns,
                              [](const Product& p) { return Forward(p).bytes(); }, block_of};
const Tables<ProductBack> product_back{kLanes, places_of_rows, bytes_back, block_back};

}  // namespace goose::train::GOOSE_ISA
