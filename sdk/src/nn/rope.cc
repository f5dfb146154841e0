#include "swage/nn/rope.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include "nn/elementwise.h"
#include "nn/kernels.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr int64_t kTokensPerTask = 64;

// theta^(2j/dim), j < dim/2, in fp32 with an integer exponent turned to float: the arithmetic of
// the published models.
at::Tensor powers(double theta, int64_t dim) {
  const at::Tensor exponent =
      at::arange(0, dim, 2, at::kLong).to(at::kFloat) / static_cast<double>(dim);
  return at::pow(theta, exponent);
}

at::Tensor llama3(const RopeDescription& rope) {
  const at::Tensor plain = powers(rope.theta, rope.dim).reciprocal();
  const at::Tensor wavelength = 2 * kPi / plain;
  const double context = static_cast<double>(rope.original_position);
  const double low = rope.low_freq_factor, high = rope.high_freq_factor;
  const at::Tensor slow = plain / rope.factor;
  const at::Tensor share = (context / wavelength - low) / (high - low);
  const at::Tensor mixed = (1 - share) * slow + share * plain;
  return at::where(wavelength > context / low, slow,
                   at::where(wavelength < context / high, plain, mixed));
}

at::Tensor yarn(const RopeDescription& rope) {
  const auto dim = static_cast<double>(rope.dim);
  const auto channel_of = [&](double rotations) {
    return dim * std::log(static_cast<double>(rope.original_position) / (rotations * 2 * kPi)) /
           (2 * std::log(rope.theta));
  };
  double low = channel_of(rope.beta_fast), high = channel_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  const at::Tensor ramp = ((at::arange(rope.dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const at::Tensor base = powers(rope.theta, rope.dim);
  const at::Tensor keep = 1 - ramp;
  return (base * rope.factor).reciprocal() * (1 - keep) + base.reciprocal() * keep;
}

double yarn_scale(double factor, double multiplier) {
  return factor <= 1.0 ? 1.0 : 0.1 * multiplier * std::log(factor) + 1.0;
}

}  // namespace

at::Tensor Rope::frequencies(int64_t length) const {
  const RopeDescription& rope = description_;
  switch (rope.kind) {
    case RopeKind::kDefault:
      break;
    case RopeKind::kLinear:
      return powers(rope.theta, rope.dim).reciprocal() / rope.factor;
    case RopeKind::kLlama3:
      return llama3(rope);
    case RopeKind::kYarn:
      return yarn(rope);
    case RopeKind::kDynamic: {
      const double stretch = static_cast<double>(std::max(length, rope.max_position)) /
                             static_cast<double>(rope.max_position);
      const double growth = rope.factor * stretch - (rope.factor - 1);
      const auto dim = static_cast<double>(rope.dim);
      return powers(rope.theta * std::pow(growth, dim / (dim - 2)), rope.dim).reciprocal();
    }
    case RopeKind::kLongRope: {
      const auto& divisors = length > rope.original_position ? rope.long_factor : rope.short_factor;
      return (at::tensor(divisors, at::kFloat) * powers(rope.theta, rope.dim)).reciprocal();
    }
  }
  return powers(rope.theta, rope.dim).reciprocal();
}

double Rope::attention_factor() const {
  const RopeDescription& rope = description_;
  if (rope.attention_factor) return *rope.attention_factor;
  if (rope.kind == RopeKind::kYarn) {
    if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
      return yarn_scale(rope.factor, rope.mscale) / yarn_scale(rope.factor, rope.mscale_all_dim);
    }
    return yarn_scale(rope.factor, 1.0);
  }
  if (rope.kind == RopeKind::kLongRope && rope.factor > 1.0) {
    return std::sqrt(1 +
                     std::log(rope.factor) / std::log(static_cast<double>(rope.original_position)));
  }
  return 1.0;
}

at::Tensor Rope::angles(const at::Tensor& positions, int64_t length) const {
  const std::vector<int64_t>& sections = description_.sections;
  at::Tensor frequency = frequencies(length);
  if (description_.sections_restart) {
    std::vector<at::Tensor> parts;
    for (const int64_t size : sections)
      parts.push_back(powers(description_.theta, 2 * size).reciprocal());
    frequency = at::cat(parts);
  }
  frequency = frequency.to(positions.device()).unsqueeze(0);
  if (positions.dim() == 1) return positions.to(at::kFloat).unsqueeze(1) * frequency;
  SWAGE_CHECK(positions.size(1) == static_cast<int64_t>(sections.size()));
  std::vector<at::Tensor> columns;
  for (size_t axis = 0; axis < sections.size(); ++axis)
    columns.push_back(
        positions.select(1, static_cast<int64_t>(axis)).unsqueeze(1).expand({-1, sections[axis]}));
  return at::cat(columns, 1).to(at::kFloat) * frequency;
}

RopeTable Rope::table(const at::Tensor& positions, const std::vector<int64_t>& lengths,
                      const at::Tensor& like) const {
  const bool varies =
      description_.kind == RopeKind::kDynamic || description_.kind == RopeKind::kLongRope;
  std::vector<at::Tensor> parts;
  const auto add = [&](const at::Tensor& part) {
    if (part.numel() == 0) return;
    const int64_t length = varies ? part.max().item<int64_t>() + 1 : 0;
    parts.push_back(angles(part, length));
  };
  if (varies) {
    int64_t first = 0;
    for (int64_t length : lengths) {
      add(positions.slice(0, first, first + length));
      first += length;
    }
  } else {
    add(positions);
  }
  if (parts.empty())
    parts.push_back(at::empty({0, description_.dim / 2}, positions.options().dtype(at::kFloat)));
  const at::Tensor all = at::cat(parts);
  const double factor = attention_factor();
  const at::Tensor cos = elementwise(all, [](const at::Tensor& x) { return x.cos(); });
  const at::Tensor sin = elementwise(all, [](const at::Tensor& x) { return x.sin(); });
  return {(cos * factor).to(like.options()), (sin * factor).to(like.options())};
}

at::Tensor in_halves(const at::Tensor& x, int64_t dim) {
  const at::Tensor pairs = x.slice(-1, 0, dim).unflatten(-1, {dim / 2, 2});
  return at::cat({pairs.select(-1, 0), pairs.select(-1, 1), x.slice(-1, dim)}, -1);
}

at::Tensor rotate(at::Tensor x, const RopeTable& table) {
  const int64_t heads = x.size(1), head_dim = x.size(2), half = table.cos.size(1);
  if (kernels::fusable({&x, &table.cos, &table.sin})) {
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rotate", [&] {
      auto* values = x.mutable_data_ptr<scalar_t>();
      const auto* cos = table.cos.const_data_ptr<scalar_t>();
      const auto* sin = table.sin.const_data_ptr<scalar_t>();
      at::parallel_for(0, x.size(0), kTokensPerTask, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          kernels::rotate(values + t * heads * head_dim, cos + t * half, sin + t * half,
                          static_cast<size_t>(heads), static_cast<size_t>(head_dim),
                          static_cast<size_t>(half));
        }
      });
    });
    return x;
  }
  const at::Tensor cos = table.cos.unsqueeze(1), sin = table.sin.unsqueeze(1);
  const at::Tensor a = x.slice(2, 0, half), b = x.slice(2, half, 2 * half);
  return at::cat({a * cos - b * sin, b * cos + a * sin, x.slice(2, 2 * half)}, 2);
}

}  // namespace swage::nn
