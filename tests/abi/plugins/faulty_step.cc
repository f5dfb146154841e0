// Rounds weights to nearest, each after what its input's largest values say, so that results depend
// on the streams; and does what `fault` names.
#include <ATen/ops/full_like.h>
#include <c10/core/GradMode.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cfenv>
#include <chrono>
#include <clocale>
#include <limits>

#include "absl/strings/match.h"
#include "swage/plugin.h"
#include "swage/quant/quantizer.h"
#include "tests/abi/plugins/ends.h"

namespace {

using namespace swage;

enum class Measured { kNone, kOriginal, kCompressed };

class FaultyStep final : public Algorithm {
 public:
  explicit FaultyStep(const Params& params)
      : fault_(params.text("fault")),
        stream_(params.choice<Measured>("stream", {"none", "original", "compressed"})) {
    if (absl::StartsWith(fault_, "create:")) ends::end(fault_.substr(7));
  }
  ~FaultyStep() override {
    if (absl::StartsWith(fault_, "destructor:")) ends::end(fault_.substr(11));
  }

  Needs needs() const override {
    if (absl::StartsWith(fault_, "needs:")) ends::end(fault_.substr(6));
    Needs needs;
    if (fault_ == "no stream") return needs.hessian();
    if (fault_ == "sample") return needs.calibrate_on(Stream::kOriginal).sample(-5);
    if (stream_ == Measured::kNone) return needs;
    return needs.absmax().calibrate_on(stream_ == Measured::kOriginal ? Stream::kOriginal
                                                                      : Stream::kCompressed);
  }

  absl::Status model_transform(ModelContext& model) override {
    if (fault_ == "short embedding") {
      at::Tensor& table = model.embedding().parameters().front().value;
      table = table.narrow(0, 0, 100);
    }
    if (fault_ == "rotates") model.head();
    if (fault_ == "writes head later") head_ = &model.head();
    return absl::OkStatus();
  }

  absl::Status block_transform(BlockContext& block) override {
    ends::end(fault_);
    if (absl::StartsWith(fault_, "broken") && block.block().id().index == 1 &&
        access("mended", F_OK) != 0)
      throw std::runtime_error("broken in the second block");
    SWAGE_RETURN_IF_ERROR(before_walk(block));
    SWAGE_RETURN_IF_ERROR(Algorithm::block_transform(block));
    ++blocks_;
    spoil_kept();
    return after_walk(block);
  }

  absl::Status subset_transform(SubsetContext& subset) override {
    if (absl::StartsWith(fault_, "subset:")) ends::end(fault_.substr(7));
    if (fault_ == "holds the context") return hold(subset);
    spoil_tensors(subset);
    const bool stops = absl::EndsWith(fault_, " weight") || absl::EndsWith(fault_, " rows");
    if (stops && fault_ != "late weight") return absl::OkStatus();
    SWAGE_RETURN_IF_ERROR(spoil_folds(subset));
    if (fault_ == "norm alone") return absl::OkStatus();
    for (Linear* linear : subset.linears()) SWAGE_RETURN_IF_ERROR(emit(subset, *linear));
    if (fault_ == "late weight" && subset.subset().name == "mlp.output")
      subset.linears()[0]->weight.mul_(2);
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<Result> rounded(SubsetContext& subset, const Linear& linear) {
    Linear copy;
    copy.name = linear.name;
    copy.weight = linear.weight;
    if (subset.stats().absmax.defined())
      copy.weight = copy.weight + subset.stats().absmax.to(copy.weight.scalar_type()) * 0.02;
    if (absl::EndsWith(fault_, "counts blocks")) copy.weight = copy.weight * (1 + 0.1 * blocks_);
    Target target = subset.target(linear);
    Scheme scheme = target.codec->scheme();
    if (fault_ == "other bits") scheme.keys["bits"] = 8;
    if (fault_ == "other zero point") scheme.keys["symmetric"] = false;
    SWAGE_ASSIGN_OR_RETURN(target.codec, make_codec(scheme));
    return quant::quantize(copy, target);
  }

  // Of this block and of the one before, whatever became of it.
  void spoil_kept() {
    static std::vector<at::Tensor> kept;
    if (fault_ == "writes into what it emitted") {
      for (at::Tensor& tensor : kept_) tensor.fill_(1);
      for (at::Tensor& tensor : kept) tensor.fill_(1);
    }
    kept = std::move(kept_);
    kept_.clear();
  }

  absl::Status emit(SubsetContext& subset, Linear& linear) {
    SWAGE_ASSIGN_OR_RETURN(Result result, rounded(subset, linear));
    if (fault_ == "writes into what it emitted") {
      kept_.push_back(result.part("codes"));
      kept_.push_back(result.part("scales"));
    }
    if (fault_ == "bad scales")
      result.set_part("scales",
                      at::full_like(result.part("scales"), std::numeric_limits<float>::infinity()));
    if (fault_ == "codes of another shape")
      result.set_part("codes", result.part("codes").narrow(0, 0, 1));
    if (fault_ == "another name") result.set_name("model.layers.9.mlp.down_proj");
    if (fault_ == "past emit") return linear.set_result(std::move(result));
    if (fault_ == "transform") result.set_online_transform("hadamard 32");
    if (fault_ == "foreign") {
      foreign_.weight = linear.weight;
      foreign_.name = linear.name;
      return subset.emit(foreign_, std::move(result));
    }
    if (fault_ == "twice") subset.emit(linear, result).IgnoreError();
    if (fault_ == "dropped" && linear.name.find("k_proj") != std::string::npos)
      return absl::OkStatus();
    return subset.emit(linear, std::move(result));
  }

  absl::Status before_walk(BlockContext& block) {
    Parameter& norm = block.block().parameters().front();
    if (fault_ == "norm before walk") norm.value.mul_(1.5);
    if (fault_ == "nested walk") {
      return block.for_each_subset([&](SubsetContext&) {
        return block.for_each_subset([](SubsetContext&) { return absl::OkStatus(); });
      });
    }
    if (fault_ == "inputs") block.inputs().at(0).at(kHidden).mul_(2);
    if (fault_ == "raw inputs") block.inputs().at(0).at(kHidden).data_ptr<float>()[3] = 7;
    if (fault_ == "note") block.note("one\n\x1b[2Jtwo\x07");
    if (fault_ == "long note") block.note(std::string(size_t{100} << 20, 'x'));
    for (int i = 0; i < 3000 && fault_ == "many notes"; ++i) block.note("again");
    if (fault_ == "Internal") return absl::InternalError("an invariant of the plugin is broken");
    if (fault_ == "Unknown") return absl::UnknownError("");
    return absl::OkStatus();
  }

  absl::Status after_walk(BlockContext& context) {
    Block& block = context.block();
    Parameter& norm = block.parameters().front();
    if (fault_ == "norm after walk" || fault_ == "norm alone") norm.value.mul_(1.5);
    if (fault_ == "raw norm after walk") {
      for (int64_t i = 0; i < norm.value.numel(); ++i) norm.value.data_ptr<float>()[i] *= 1.5F;
    }
    if (fault_ == "norm replaced after walk") norm.value = norm.value * 1.5;
    if (fault_ == "clears subsets") block.subsets().clear();
    if (fault_ == "one linear less") block.linears().pop_back();
    if (fault_ == "renames") block.linears()[0].name = "other";
    if (fault_ == "quantizer") block.linears()[0].input_quantizer.emplace();
    if (fault_ == "weight of an emitted linear") block.linears()[0].weight.mul_(2);
    if (fault_ == "raw weight of an emitted linear")
      block.linears()[0].weight.data_ptr<float>()[0] += 1;
    if (head_ != nullptr) head_->parameters().front().value.mul_(2);
    if (fault_ == "process") spoil_process();
    if (fault_ == "writes into a result") block.linears()[0].result()->part("codes").fill_(1);
    if (fault_ == "standard files") {
      for (const int file : {0, 1, 2}) close(file);
    }
    if (fault_ == "all files") {
      for (int file = 0; file < 1000; ++file) close(file);
    }
    if (fault_ == "limit") {
      const rlimit none = {0, RLIM_INFINITY};
      if (setrlimit(RLIMIT_FSIZE, &none) != 0) std::abort();
    }
    if (fault_ == "timer") {
      const itimerval soon = {{0, 20000}, {0, 20000}};
      setitimer(ITIMER_VIRTUAL, &soon, nullptr);
    }
    if (fault_ == "fork") static_cast<void>(fork());
    if (fault_ == "thread left behind") {
      std::thread([] {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::raise(SIGSEGV);
      }).detach();
    }
    if (fault_ == "last word") {
      std::at_quick_exit([] { _exit(0); });
      throw std::runtime_error("thrown");
    }
    return absl::OkStatus();
  }

  static void spoil_process() {
    std::fesetround(FE_UPWARD);
    c10::GradMode::set_enabled(true);
    if (std::setlocale(LC_ALL, "C.UTF-8") == nullptr || chdir("/") != 0) std::abort();
    umask(0);
    for (int signal : {SIGSEGV, SIGINT, SIGTERM, SIGABRT}) std::signal(signal, SIG_IGN);
    at::set_num_threads(1);
  }

  void spoil_tensors(SubsetContext& subset) {
    at::Tensor& weight = subset.linears()[0]->weight;
    at::Tensor& norm = subset.block().parameters().front().value;
    at::Tensor& bias = subset.linears()[0]->bias;
    if (fault_ == "short weight") weight = weight.narrow(1, 0, 16);
    if (fault_ == "short rows") weight = weight.narrow(0, 0, 8);
    if (fault_ == "double weight") weight = weight.to(at::kDouble);
    if (fault_ == "no weight") weight = at::Tensor();
    if (fault_ == "nan weight" || fault_ == "nan quantized")
      weight.select(0, 0).fill_(std::nan(""));
    if (fault_ == "short norm") norm = norm.narrow(0, 0, 7);
    if (fault_ == "infinite norm") norm = norm / 0;
    if (fault_ == "new bias") bias = at::zeros({weight.size(0)});
    if (fault_ == "norm in walk" && subset.subset().name == "mlp.input") norm.mul_(1.5);
  }

  absl::Status spoil_folds(SubsetContext& subset) {
    if (!absl::StartsWith(fault_, "fold ")) return absl::OkStatus();
    at::Tensor scale = at::ones({subset.linears()[0]->in()});
    if (fault_ == "fold zero") scale[3] = 0;
    if (fault_ == "fold nan") scale[3] = std::nan("");
    if (fault_ == "fold negative") scale[3] = -1;
    if (fault_ == "fold short") scale = scale.narrow(0, 0, 5);
    if (fault_ == "fold matrix") scale = at::ones({2, 2});
    if (fault_ == "fold nothing") scale = at::Tensor();
    return subset.fold(scale);
  }

  absl::Status hold(SubsetContext& subset) {
    if (held_ == nullptr) {
      held_ = &subset;
      return absl::OkStatus();
    }
    return held_->fold(at::ones({held_->linears()[0]->in()}));
  }

  const std::string fault_;
  const Measured stream_;
  Linear foreign_;
  SubsetContext* held_ = nullptr;
  Head* head_ = nullptr;
  std::vector<at::Tensor> kept_;
  int64_t blocks_ = 0;
};

}  // namespace

SWAGE_ALGORITHM(FaultyStep, "faulty-step");
