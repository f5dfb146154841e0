// Formats by name: those of this library, which the linker has collected, and those of plugins.
#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "swage/border.h"
#include "swage/codec.h"
#include "swage/descriptor.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

absl::StatusOr<std::unique_ptr<Codec>> make_own(const swage_component* component,
                                                const Params& params) {
  swage_create_args args = {};
  args.struct_size = sizeof args;
  args.params = &params;
  swage_error error = {};
  error.struct_size = sizeof error;
  void* made = nullptr;
  const int32_t code = component->create(&args, &made, &error);
  if (code != 0) return from_error(code, &error);
  return std::unique_ptr<Codec>(static_cast<Codec*>(made));
}

struct Format {
  CodecMaker make;
  std::string origin;
};

class Registry {
 public:
  static Registry& get() {
    static auto* const registry = new Registry;
    return *registry;
  }

  void add(const std::string& name, Format format) {
    const std::lock_guard lock(mutex_);
    formats_.emplace(name, std::move(format));
  }

  absl::StatusOr<Format> find(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = formats_.find(name);
    if (found != formats_.end()) return found->second;
    std::vector<std::string> known;
    for (const auto& [one, format] : formats_) known.push_back(one);
    return absl::NotFoundError(
        absl::StrCat("there is no number format \"", name, "\"", suggestion(name, known)));
  }

 private:
  Registry() {
    const auto count = __stop_swage_components - __start_swage_components;
    for (int i = 0; i < count; ++i) {
      const swage_component* const component = __start_swage_components[i];
      const auto make = [component](const Params& params) { return make_own(component, params); };
      formats_.emplace(component->name, Format{make, ""});
    }
  }

  mutable std::mutex mutex_;
  std::map<std::string, Format> formats_;
};

}  // namespace

void register_format(const std::string& name, CodecMaker make, std::string origin) {
  Registry::get().add(name, {std::move(make), std::move(origin)});
}

absl::StatusOr<std::shared_ptr<const Codec>> make_codec(const Scheme& scheme) {
  SWAGE_ASSIGN_OR_RETURN(const Format format, Registry::get().find(scheme.format));
  SWAGE_ASSIGN_OR_RETURN(std::unique_ptr<Codec> codec, format.make(Params(scheme.keys)));
  codec->scheme_ = scheme;
  codec->origin_ = format.origin;
  return std::shared_ptr<const Codec>(std::move(codec));
}

}  // namespace swage
