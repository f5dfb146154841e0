#include "swage/io/gguf_architecture.h"
namespace swage::io {
bool GgufPlan::is_copy() const { return false; }
absl::StatusOr<std::string> gguf_architecture(const Value&) { return absl::UnimplementedError("stub"); }
absl::StatusOr<GgufPlans> plan_gguf(const Value&, const TensorShapes&) { return absl::UnimplementedError("stub"); }
absl::StatusOr<std::vector<GgufKey>> gguf_keys(const Value&, const TensorShapes&) { return absl::UnimplementedError("stub"); }
absl::StatusOr<std::vector<GgufKey>> gguf_tokenizer(const Value&, const SideFiles&) { return absl::UnimplementedError("stub"); }
absl::StatusOr<Value> config_of_gguf(const GgufContents&) { return absl::UnimplementedError("stub"); }
absl::StatusOr<std::vector<GgufPlan>> plan_hugging_face(const GgufContents&, const Value&) { return absl::UnimplementedError("stub"); }
}
