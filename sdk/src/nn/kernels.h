#pragma once
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>

// Fused CPU loops of the forward pass, for float and double. What one row or element becomes
// depends on nothing else, so bytes do not change with the number of rows in a micro-batch or with
// the threads that share them.
namespace swage::nn::kernels {

// May a loop over raw pointers replace differentiable operations? CPU, contiguous, one dtype (float
// or double), and no gradient flows.
bool fusable(std::initializer_list<const at::Tensor*> tensors);

// y = x / sqrt(mean(x²) + eps) · (w + offset), row by row.
template <class T>
void rms_norm(const T* x, const T* w, T* y, size_t rows, size_t columns, double eps, double offset);

enum class Gate { kSilu, kQuickGelu, kGeluTanh };  // all are x · sigmoid(z(x))
// x = act(x) · up; `up` null: x = act(x).
template <class T>
void gate(Gate kind, T* x, const T* up, size_t count);

// Rotates the first 2·half channels of every head of one token.
template <class T>
void rotate(T* x, const T* cos, const T* sin, size_t heads, size_t head_dim, size_t half);

// Softmax of scale · s over [first, last); zero elsewhere in [0, count). Left unnormalized: returns
// the sum by which the caller divides.
template <class T>
T softmax_row(T* s, size_t first, size_t last, size_t count, T scale);

// Index of the first element whose exponent bits are all ones (NaN or infinity); -1: none. U is the
// unsigned type of the element's size.
template <class U>
int64_t find_not_finite(const U* bits, size_t count, U exponent_mask);

}  // namespace swage::nn::kernels
