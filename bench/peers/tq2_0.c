// llama.cpp's way of multiplying a TQ2_0 matrix with a vector, in one call: the input is quantised
// to Q8_K, then every row is one dot product. The functions are those of libggml, handed in by
// address; the loop is ggml_compute_forward_mul_mat's for one vector and one thread.
#include <stddef.h>
#include <stdint.h>

typedef void (*quantise_fn)(const float* x, void* q, int64_t k);
typedef void (*dot_fn)(int n, float* s, size_t bs, const void* x, size_t bx, const void* y,
                       size_t by, int nrc);

void tq2_0_multiply(quantise_fn quantise, dot_fn dot, const void* weight, size_t row_bytes,
                    const float* x, void* q, float* y, int rows, int columns, int64_t repeats) {
  for (int64_t i = 0; i < repeats; ++i) {
    quantise(x, q, columns);
    for (int row = 0; row < rows; ++row) {
      dot(columns, y + row, 0, (const char*)weight + (size_t)row * row_bytes, 0, q, 0, 1);
    }
  }
}
