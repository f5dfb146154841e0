#pragma once
#include <ATen/core/Tensor.h>

#include <fstream>
#include <sstream>

#include "plugin_support.h"

namespace swage::testing_support {

inline Value config_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  return must(parse_json(text.str(), file.string()));
}

inline std::unique_ptr<WeightSource> tensors_of(const std::filesystem::path& file) {
  return must(io::open_safetensors({file.string()}));
}

// A small model with reference values, and the adapter that its config.json chooses.
struct Tiny {
  explicit Tiny(const std::string& name, const std::string& config = "config.json")
      : folder(test_data() / "parity" / name), weights(tensors_of(folder / "model.safetensors")) {
    const Value values = config_of(folder / config);
    const auto found = must(built_plugins().find_model(values));
    adapter = must(loader().model(found.component->name));
    const absl::Status status = adapter->open(values);
    if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  }

  // hidden_0 … hidden_L (the last after the final norm) and logits of sequences laid end to end.
  std::vector<at::Tensor> run(const at::Tensor& ids, const std::vector<int64_t>& lengths,
                              at::ScalarType compute) const {
    LoadOptions options;
    options.compute = compute;
    Slots slots;
    slots.lengths = lengths;
    std::vector<at::Tensor> positions;
    for (int64_t length : lengths) positions.push_back(at::arange(length, at::kLong));
    slots.positions = at::cat(positions);
    if (!must(adapter->load_embedding(*weights, options))->embed(ids, slots).ok())
      throw std::runtime_error("embed");
    std::vector<at::Tensor> states = {slots.at(kHidden).clone()};
    for (int64_t i = 0; i < adapter->shape().towers.front().block_count; ++i) {
      must(adapter->load_block({"language", i}, *weights, options))->forward(slots);
      states.push_back(slots.at(kHidden).clone());
    }
    const auto head = must(adapter->load_head(*weights, options));
    states.back() = head->normalize(states.back());
    states.push_back(head->logits(states.back()));
    return states;
  }

  std::filesystem::path folder;
  std::shared_ptr<ModelAdapter> adapter;
  std::unique_ptr<WeightSource> weights;
};

}  // namespace swage::testing_support
