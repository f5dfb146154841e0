#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/linear.h"
#include "swage/params.h"
#include "swage/result.h"
#include "swage/value.h"
#include "swage/weight_source.h"

namespace swage {

// Takes the tensors of one linear or parameter. The host stores them per block; finish() lays out
// the files.
class SWAGE_API TensorSink {
 public:
  virtual ~TensorSink();
  virtual absl::Status put(const std::string& name,
                           const at::Tensor& tensor) = 0;  // stored in the tensor's dtype
};

// Where a linear belongs: to a block, or it is the table of the embedding or the matrix of the
// head.
enum class LinearPlace { kBlock, kEmbedding, kHead };

// One linear of the model and how it ended. Embedding and head are among them where a step
// compresses them; else they are parameters.
struct SWAGE_API LinearSummary {
  std::string name;
  int64_t out = 0, in = 0;
  std::string kept_by;                      // not empty: kept in floats, and by which rule
  std::shared_ptr<const Codec> weight;      // null: kept
  std::shared_ptr<const Codec> activation;  // null: its input stays in floats
  at::ScalarType scale_dtype = at::kFloat;  // of scales that the scheme leaves open
  // Planned: what a step may leave beside the codes.
  bool may_transform_input = false;  // Result::online_transform
  bool may_have_sides = false, may_have_mask = false;
  LinearPlace place = LinearPlace::kBlock;
};

// What finish() works with.
class SWAGE_API ExportContext {
 public:
  virtual ~ExportContext();
  virtual const WeightSource& tensors() const = 0;  // everything that was put, in storage dtype
  virtual const std::string& directory()
      const = 0;  // empty folder to fill; it gets its final name afterwards
  virtual const Value& model_config() const = 0;  // config.json of the source
  virtual const std::vector<LinearSummary>& linears() const = 0;
  // Files beside the weights (tokenizer, generation config …): name and content.
  virtual absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const = 0;
};

// A codec in both directions: what encode() puts, decode() must read back to the last bit, out of
// the files alone. Created for every block anew, as an algorithm is: finish() has all of them in
// its context. It copies side_files() as they are, and changes nothing in model_config() but what
// says how weights are stored.
//
// The host believes neither direction. It records every result, parameter and carried tensor before
// the exporter has it, works the finished folder through decode() and by tensor names, and asks for
// these values, or for these rounded once to bf16 or fp16; a tensor too few, too many or of other
// values is exit 6. Then it runs windows through what was decoded. Calls get copies of their own.
class SWAGE_API Exporter {
 public:
  virtual ~Exporter();
  // Before any work, with the planned schemes: can the format hold this? The error names the linear
  // and the reason. What its readers make of it that a user should know is a remark()
  // (swage/remark.h). An object may only ever see this call, or a part of the blocks (`resume`).
  virtual absl::Status check(const std::vector<LinearSummary>& planned) = 0;
  // Tensors of one linear under names of the exporter's choice, `linear.name` in front.
  virtual absl::Status encode(const Result& linear, TensorSink& sink) = 0;
  // A tensor that is not a compressed linear (norm, embedding, bias, kept linear), value in compute
  // or storage dtype. It keeps its name: it is looked for under it. Default: puts it in
  // `parameter.storage`.
  virtual absl::Status encode_parameter(const Parameter& parameter, TensorSink& sink);
  // The object that decode() gives for what encode() makes of `linear`: by default the same. A help
  // for an exporter's own tests; the host does not ask for it.
  virtual Result stored_form(const Result& linear) const { return linear; }
  // Writes all of context.tensors(), which holds beside what was put the tensors that are carried
  // from the source, config.json and side files: files and folders, no links.
  virtual absl::Status finish(ExportContext& context) = 0;
  // Reads one linear of a checkpoint in this format: `tensors` are its files, `config` its
  // config.json. NotFound: the checkpoint holds this linear as plain floats under its own name.
  virtual absl::StatusOr<Result> decode(const std::string& linear, const WeightSource& tensors,
                                        const Value& config) = 0;

  // An ability that a later version of the host may ask for; null: it has none of this name.
  const void* query(std::string_view ability) const;

 protected:
  virtual const void* do_query(std::string_view ability) const;
};

}  // namespace swage
