// Key functions of the interfaces: their vtables live here, in libswage_sdk.so, and nowhere else.
#include "swage/algorithm.h"
#include "swage/evaluator.h"
#include "swage/exporter.h"
#include "swage/folder_reader.h"
#include "swage/io/checkpoint.h"
#include "swage/model.h"
#include "swage/source_check.h"
#include "swage/status.h"

namespace swage {

Block::~Block() = default;
WeightSource::~WeightSource() = default;
Embedding::~Embedding() = default;
Head::~Head() = default;
ModelAdapter::~ModelAdapter() = default;
absl::StatusOr<std::unique_ptr<image::Processor>> ModelAdapter::load_processor(const Value&) const {
  return absl::FailedPreconditionError("this model reads no pictures");
}
std::string ModelAdapter::picture_text(const image::Inputs&, const std::string& token) const {
  return token;
}
StepContext::~StepContext() = default;
ModelContext::~ModelContext() = default;
Algorithm::~Algorithm() = default;
EvaluationInput::~EvaluationInput() = default;
Evaluator::~Evaluator() = default;
TensorSink::~TensorSink() = default;
ExportContext::~ExportContext() = default;
Exporter::~Exporter() = default;
FolderReader::~FolderReader() = default;
SourceCheck::~SourceCheck() = default;
io::Checkpoint::~Checkpoint() = default;

EmbeddingSites Embedding::residual_sites() {
  return {"the adapter does not say what its embedding writes to it", {}, at::kFloat};
}

HeadSites Head::residual_sites() {
  HeadSites sites;
  sites.why_none = "the adapter does not say what its head reads of it";
  return sites;
}

absl::Status Algorithm::block_transform(BlockContext& block) {
  return block.for_each_subset([this](SubsetContext& subset) { return subset_transform(subset); });
}

// No ability has been added yet: classes answer for those that they know.
const void* ModelAdapter::query(std::string_view ability) const { return do_query(ability); }
const void* ModelAdapter::do_query(std::string_view) const { return nullptr; }
const void* Algorithm::query(std::string_view ability) const { return do_query(ability); }
const void* Algorithm::do_query(std::string_view) const { return nullptr; }
const void* Evaluator::query(std::string_view ability) const { return do_query(ability); }
const void* Evaluator::do_query(std::string_view) const { return nullptr; }
const void* Exporter::query(std::string_view ability) const { return do_query(ability); }
const void* Exporter::do_query(std::string_view) const { return nullptr; }

absl::Status Exporter::encode_parameter(const Parameter& parameter, TensorSink& sink) {
  return sink.put(parameter.name, parameter.value.to(parameter.storage));
}

}  // namespace swage
