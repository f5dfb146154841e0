#pragma once
#include <functional>

#include "export_support.h"
#include "swage/remark.h"

// One linear through an exporter, and what its decode() makes of tensors and config that changed.
namespace swage::testing_support {

inline const Value::Table kShards = {{"shard_size", 5000}};
inline const std::string kOneLinear = "model.layers.0.mlp.up_proj";

// "" or why check() refuses the linears.
inline std::string refusal(const std::string& exporter, const std::vector<LinearSummary>& linears) {
  return std::string(must(loader().exporter(exporter, Params(kShards)))->check(linears).message());
}
inline std::string refusal(const std::string& exporter, const Result& linear) {
  return refusal(exporter, {summary(linear)});
}
inline std::vector<std::string> remarks(const std::string& exporter,
                                        const std::vector<LinearSummary>& linears) {
  const RemarkLog log;
  must(loader().exporter(exporter, Params(kShards)))->check(linears).IgnoreError();
  return log.texts();
}

class OneLinear {
 public:
  OneLinear(const std::string& exporter, const Result& linear)
      : linear_(linear), run_(exporter, kShards) {
    run_.add(linear);
    run_.finish();
  }

  Export& run() { return run_; }
  Result back() { return must(run_.decode(kOneLinear)); }
  at::Tensor read(const std::string& part) const {
    return must(run_.files().read(kOneLinear + "." + part));
  }
  // "name type [shape]" of all that was written.
  std::vector<std::string> written() const {
    std::vector<std::string> all;
    for (const std::string& name : run_.files().names()) {
      std::ostringstream text;
      text << name.substr(kOneLinear.size() + 1) << " " << must(run_.files().dtype(name)) << " "
           << at::IntArrayRef(must(run_.files().shape(name)));
      all.push_back(text.str());
    }
    return all;
  }

  using Change = std::function<at::Tensor(const at::Tensor&)>;
  // Result of decode() where one tensor is another; undefined: none.
  absl::StatusOr<Result> changed(const std::string& part, const Change& change) {
    TensorStore store = run_.store();
    const std::string name = kOneLinear + "." + part;
    const at::Tensor tensor = change(store.tensors[name]);
    store.tensors.erase(name);
    if (tensor.defined()) store.tensors[name] = tensor;
    return run_.exporter().decode(kOneLinear, store, run_.config());
  }
  std::string message(const std::string& part, const Change& change) {
    const auto result = changed(part, change);
    return result.ok() ? "decoded" : std::string(result.status().message());
  }
  // The same where a text in the JSON of config.json is another.
  absl::StatusOr<Result> configured(const std::string& from, const std::string& to) {
    std::string json = to_json(run_.config(), -1);
    size_t at = json.find(from);
    if (at == std::string::npos) throw std::runtime_error(from + " is not in " + json);
    for (; at != std::string::npos; at = json.find(from, at + to.size()))
      json.replace(at, from.size(), to);
    return run_.exporter().decode(kOneLinear, run_.store(), must(parse_json(json, "test")));
  }
  // Is one flipped bit noticed, by an error or by other weights?
  bool notices(const std::string& part) {
    const auto result = changed(part, [](const at::Tensor& t) {
      at::Tensor other = t.clone();
      static_cast<uint8_t*>(other.mutable_data_ptr())[0] ^= 1;
      return other;
    });
    return !result.ok() || digest(*result) != digest(linear_) ||
           result->codec()->form() != linear_.codec()->form();
  }

 private:
  const Result linear_;
  Export run_;
};

}  // namespace swage::testing_support
