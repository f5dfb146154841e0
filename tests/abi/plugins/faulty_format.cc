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
  absl::Status encode(const Result& linear, TensorSink& sink) override {
    if (absl::StartsWith(fault_, "encode:")) ends::end(fault_.substr(7));
    if (fault_ == "spoils") {
      linear.part("codes").fill_(1);
      linear.part("scales").fill_(1);
    }
    if (fault_ == "undefined") return sink.put(linear.name(), at::Tensor());
    SWAGE_RETURN_IF_ERROR(sink.put(linear.name() + ".codes", linear.part("codes")));
    return sink.put(linear.name() + ".scales", linear.part("scales"));
  }
  absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink) override {
    if (absl::StartsWith(fault_, "parameter:")) ends::end(fault_.substr(10));
    SWAGE_RETURN_IF_ERROR(Exporter::encode_parameter(parameter, sink));
    if (fault_ == "spoils") parameter.value.fill_(0);
    return absl::OkStatus();
  }
  Result stored_form(const Result& linear) const override {
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
  absl::StatusOr<Result> decode(const std::string& linear, const WeightSource& tensors,
                                const Value&) override {
    if (absl::StartsWith(fault_, "decode:")) ends::end(fault_.substr(7));
    if (!tensors.has(linear + ".codes")) return absl::NotFoundError("floats");
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor codes, tensors.read(linear + ".codes"));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor scales, tensors.read(linear + ".scales"));
    SWAGE_ASSIGN_OR_RETURN(const auto codec, make_codec({"int", {{"bits", 4}, {"group", 32}}}));
    return Result(linear, codec, codes.size(0), codes.size(1),
                  {{"codes", codes}, {"scales", scales}});
  }

 private:
  const std::string fault_;
};

}  // namespace

SWAGE_EXPORTER(FaultyFormat, "faulty-format");
