#pragma once
#include <ATen/core/Tensor.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "core/catalog/adapter_rules.h"
#include "core/load/adapter.h"
#include "plugin_support.h"
#include "swage/evaluator.h"

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

inline void check(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
}

// What is done to the parts of a model before they run; nothing by default.
struct Changes {
  std::function<void(Embedding&)> embedding = [](Embedding&) {};  // of the language tower
  std::function<void(Block&)> block = [](Block&) {};              // of every tower
  std::function<void(Head&)> head = [](Head&) {};
};

// A small model with reference values, and the adapter that its config.json chooses.
struct Tiny {
  explicit Tiny(const std::string& name, const std::string& config = "config.json")
      : folder(test_data() / "parity" / name), weights(tensors_of(folder / "model.safetensors")) {
    const Value values = config_of(folder / config);
    const AdapterRules rules = must(adapter_rules(built_plugins(), values, weights->names()));
    adapter = must(open_adapter(loader(), rules, values));
    const auto reference = tensors_of(folder / "io.safetensors");
    for (const std::string& tensor : reference->names()) {
      const bool output = tensor.rfind("hidden_", 0) == 0 || tensor == "logits";
      if (!output && tensor != "input_ids") inputs[tensor] = must(reference->read(tensor));
    }
    ids = must(reference->read("input_ids")).flatten();
  }

  // hidden_0 … hidden_L (the last after the final norm) and logits of sequences laid end to end;
  // of one sequence with `images`.
  std::vector<at::Tensor> run(const at::Tensor& which, const std::vector<int64_t>& lengths,
                              at::ScalarType compute, const Changes& changes = {},
                              const SequenceInputs& images = {}) const {
    LoadOptions options;
    options.compute = compute;
    std::vector<at::Tensor> states;
    Slots slots;
    for (const auto& [name, tensor] : images) slots.put_aside(name, tensor);
    for (const Tower& tower : adapter->shape().towers) {
      const bool language = tower.name == kLanguage;
      if (!language && images.empty()) continue;
      if (language) slots = entrance(which, lengths, images, std::move(slots));
      const auto embedding = must(adapter->load_embedding(tower.name, *weights, options));
      if (language) changes.embedding(*embedding);
      check(embedding->embed(slots));
      slots.keep_border();
      for (int64_t i = 0; i < tower.block_count; ++i) {
        if (language) states.push_back(slots.at(kHidden).clone());
        const auto block = must(adapter->load_block({tower.name, i}, *weights, options));
        changes.block(*block);
        block->forward(slots);
        slots.keep_border();
      }
    }
    const auto head = must(adapter->load_head(*weights, options));
    changes.head(*head);
    states.push_back(head->normalize(slots.at(kHidden)));
    states.push_back(head->logits(states.back()));
    return states;
  }

  std::filesystem::path folder;
  std::shared_ptr<ModelAdapter> adapter;
  std::unique_ptr<WeightSource> weights;
  at::Tensor ids;         // of the reference, one sequence
  SequenceInputs inputs;  // beside them

 private:
  // What the language tower's embedding finds; see model.h.
  static Slots entrance(const at::Tensor& which, const std::vector<int64_t>& lengths,
                        const SequenceInputs& images, Slots left) {
    Slots slots;
    slots.lengths = lengths;
    std::vector<at::Tensor> positions;
    for (int64_t length : lengths) positions.push_back(at::arange(length, at::kLong));
    slots.positions = at::cat(positions);
    slots[kIds] = which;
    for (const auto& [name, tensor] : images) slots.put_aside(name, tensor);
    for (const auto& [name, tensor] : left.tensors())
      slots.put_aside(name == kHidden ? kFeatures : name, tensor);
    return slots;
  }
};

}  // namespace swage::testing_support
