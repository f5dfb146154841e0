#pragma once
#include <ATen/ops/randn.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "plugin_support.h"
#include "swage/exporter.h"
#include "swage/quant/quantizer.h"
#include "swage/status.h"

namespace swage::testing_support {

// Tensors in memory, as an exporter puts them and as its decode() reads them.
class TensorStore final : public TensorSink, public WeightSource {
 public:
  std::map<std::string, at::Tensor, std::less<>> tensors;

  absl::Status put(const std::string& name, const at::Tensor& tensor) override {
    if (tensors.emplace(name, tensor.clone()).second) return absl::OkStatus();
    return absl::AlreadyExistsError(name);
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> result;
    for (const auto& [name, tensor] : tensors) result.push_back(name);
    return result;
  }
  bool has(std::string_view name) const override { return tensors.find(name) != tensors.end(); }
  absl::StatusOr<std::vector<int64_t>> shape(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(name));
    return tensor.sizes().vec();
  }
  absl::StatusOr<at::ScalarType> dtype(std::string_view name) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(name));
    return tensor.scalar_type();
  }
  absl::StatusOr<at::Tensor> read(std::string_view name) const override {
    const auto found = tensors.find(name);
    if (found != tensors.end()) return found->second;
    return absl::NotFoundError(std::string(name));
  }
  absl::StatusOr<at::Tensor> read_rows(std::string_view name, int64_t begin,
                                       int64_t end) const override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(name));
    return tensor.narrow(0, begin, end - begin);
  }
};

inline LinearSummary summary(const Result& linear) {
  LinearSummary result;
  result.name = linear.name();
  result.out = linear.out();
  result.in = linear.in();
  result.weight = linear.codec();
  if (linear.activation()) result.activation = linear.activation()->codec;
  result.scale_dtype = decoded_type(linear);
  return result;
}

inline LinearSummary kept(const std::string& name, int64_t out, int64_t in) {
  LinearSummary result;
  result.name = name;
  result.out = out;
  result.in = in;
  result.kept_by = "keep";
  return result;
}

// One export: what the engine does with an exporter, and the checkpoint that comes out.
class Export final : public ExportContext {
 public:
  Export(const std::string& exporter, const Value::Table& params)
      : exporter_(must(loader().exporter(exporter, Params(params)))) {
    std::string pattern = (std::filesystem::temp_directory_path() / "swage_export_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    directory_ = pattern;
  }
  ~Export() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  Exporter& exporter() { return *exporter_; }
  TensorStore& store() { return store_; }
  void add(const Result& linear) {
    expect(exporter_->encode(linear, store_));
    linears_.push_back(summary(linear));
  }
  void keep(const std::string& name, const at::Tensor& weight) {
    add_parameter(name + ".weight", weight);
    linears_.push_back(kept(name, weight.size(0), weight.size(1)));
  }
  void add_parameter(const std::string& name, const at::Tensor& value) {
    expect(exporter_->encode_parameter({name, value.to(at::kFloat), value.scalar_type()}, store_));
  }
  // Writes the folder; what reads it is the caller's.
  void write(const Value& source_config) {
    source_config_ = source_config;
    expect(exporter_->check(linears_));
    expect(exporter_->finish(*this));
  }
  void finish(const Value& source_config = Value(Value::Table{{"model_type", "llama"}})) {
    write(source_config);
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() == ".safetensors") files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    files_ = must(io::open_safetensors(files));
    config_ = must(parse_json(text("config.json"), "config.json"));
  }

  const WeightSource& files() const { return *files_; }
  const Value& config() const { return config_; }
  std::string text(const std::string& file) const {
    std::ifstream stream(std::filesystem::path(directory_) / file);
    std::stringstream content;
    content << stream.rdbuf();
    return content.str();
  }
  absl::StatusOr<Result> decode(const std::string& linear) {
    return exporter_->decode(linear, *files_, config_);
  }

  const WeightSource& tensors() const override { return store_; }
  const std::string& directory() const override { return directory_; }
  const Value& model_config() const override { return source_config_; }
  const std::vector<LinearSummary>& linears() const override { return linears_; }
  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const override {
    return beside;
  }
  // What lies beside the weights of the source.
  std::vector<std::pair<std::string, std::string>> beside = {{"tokenizer.json", "{}"}};

 private:
  static void expect(const absl::Status& status) {
    if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  }

  std::shared_ptr<Exporter> exporter_;
  std::string directory_;
  TensorStore store_;
  std::vector<LinearSummary> linears_;
  Value source_config_, config_;
  std::unique_ptr<WeightSource> files_;
};

inline Result quantized(const std::string& name, int64_t out, int64_t in,
                        std::shared_ptr<const Codec> codec,
                        at::ScalarType scale_dtype = at::kBFloat16) {
  Linear linear;
  linear.name = name;
  linear.weight = at::randn({out, in});
  Target target;
  target.codec = std::move(codec);
  target.request.scale_dtype = scale_dtype;
  return must(quant::quantize(linear, target));
}

// {"format": …, keys}; without a format integers.
inline std::shared_ptr<const Codec> scheme(const std::string& json) {
  Value::Table table = *must(parse_json(json, "scheme")).table();
  table.emplace("format", "int");
  return must(make_codec(must(scheme_from(Value(std::move(table))))));
}

inline ActivationQuantizer activation(const std::string& json) {
  Value::Table table = *must(parse_json(json, "scheme")).table();
  table.emplace("format", "int");
  table.emplace("dynamic", true);
  ActivationQuantizer quantizer;
  quantizer.codec = must(make_codec(must(scheme_from(Value(std::move(table))))));
  quantizer.levels = quantizer.codec->input_levels(-3.0f, 5.0f);
  return quantizer;
}

}  // namespace swage::testing_support
