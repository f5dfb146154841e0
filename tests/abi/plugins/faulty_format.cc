// Codes and scales as they are in one file, and what `fault` names.
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/io/safetensors.h"
#include "swage/plugin.h"
#include "tests/abi/plugins/ends.h"

namespace {

using namespace swage;

class FaultyFormat final : public Exporter {
 public:
  explicit FaultyFormat(const Params& params) : fault_(params.text("fault")) {}

  absl::Status check(const std::vector<LinearSummary>&) override {
    if (absl::StartsWith(fault_, "check:")) ends::end(fault_.substr(6));
    return absl::OkStatus();
  }
  absl::Status encode(const CompressedLinear& linear, TensorSink& sink) override {
    if (absl::StartsWith(fault_, "encode:")) ends::end(fault_.substr(7));
    if (fault_ == "spoils") {
      linear.codes.fill_(1);
      linear.scales.fill_(1);
    }
    if (fault_ == "undefined") return sink.put(linear.name, at::Tensor());
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name + ".codes", linear.codes));
    return sink.put(linear.name + ".scales", linear.scales);
  }
  absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink) override {
    if (absl::StartsWith(fault_, "parameter:")) ends::end(fault_.substr(10));
    SWAGE_RETURN_IF_ERROR(Exporter::encode_parameter(parameter, sink));
    if (fault_ == "spoils") parameter.value.fill_(0);
    return absl::OkStatus();
  }
  CompressedLinear stored_form(const CompressedLinear& linear) const override {
    if (absl::StartsWith(fault_, "stored_form:")) ends::end(fault_.substr(12));
    return linear;
  }
  absl::Status finish(ExportContext& context) override {
    if (absl::StartsWith(fault_, "finish:")) ends::end(fault_.substr(7));
    const std::string folder = context.directory();
    if (fault_ == "nothing") return absl::OkStatus();
    if (fault_ == "elsewhere") std::ofstream("elsewhere.txt") << "not in the folder";
    if (fault_ == "elsewhere") return absl::OkStatus();
    if (fault_ == "link") std::filesystem::create_symlink("/etc/hostname", folder + "/link");
    if (fault_ == "link") return absl::OkStatus();
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const std::string& name : context.tensors().names()) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, context.tensors().read(name));
      tensors.emplace_back(name, tensor);
    }
    std::ofstream(folder + "/config.json") << to_json(context.model_config());
    return io::write_safetensors(folder + "/model.safetensors", tensors);
  }
  absl::StatusOr<CompressedLinear> decode(const std::string& linear, const WeightSource& tensors,
                                          const Value&) override {
    if (absl::StartsWith(fault_, "decode:")) ends::end(fault_.substr(7));
    if (!tensors.has(linear + ".codes")) return absl::NotFoundError("floats");
    CompressedLinear result;
    result.name = linear;
    SWAGE_ASSIGN_OR_RETURN(result.codes, tensors.read(linear + ".codes"));
    SWAGE_ASSIGN_OR_RETURN(result.scales, tensors.read(linear + ".scales"));
    result.out = result.codes.size(0);
    result.in = result.codes.size(1);
    result.scheme.bits = 4;
    result.scheme.group_size = 32;
    return result;
  }

 private:
  const std::string fault_;
};

}  // namespace

SWAGE_EXPORTER(FaultyFormat, "faulty-format");
