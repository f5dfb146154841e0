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

struct Maker {
  CodecMaker make = nullptr;
  void* context = nullptr;
};

absl::StatusOr<std::unique_ptr<Codec>> make_own(const Params& params, void* context) {
  const auto* component = static_cast<const swage_component*>(context);
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

class Registry {
 public:
  static Registry& get() {
    static auto* const registry = new Registry;
    return *registry;
  }

  void add(const std::string& name, const Maker& maker) {
    const std::lock_guard lock(mutex_);
    makers_.emplace(name, maker);
  }

  absl::StatusOr<Maker> find(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = makers_.find(name);
    if (found != makers_.end()) return found->second;
    std::vector<std::string> known;
    for (const auto& [one, maker] : makers_) known.push_back(one);
    return absl::NotFoundError(
        absl::StrCat("there is no number format \"", name, "\"", suggestion(name, known)));
  }

 private:
  Registry() {
    const auto count = __stop_swage_components - __start_swage_components;
    for (int i = 0; i < count; ++i) {
      const swage_component* const component = __start_swage_components[i];
      makers_.emplace(component->name, Maker{make_own, const_cast<swage_component*>(component)});
    }
  }

  mutable std::mutex mutex_;
  std::map<std::string, Maker> makers_;
};

}  // namespace

void register_format(const std::string& name, CodecMaker make, void* context) {
  Registry::get().add(name, {make, context});
}

absl::StatusOr<std::shared_ptr<const Codec>> make_codec(const Scheme& scheme) {
  SWAGE_ASSIGN_OR_RETURN(const Maker maker, Registry::get().find(scheme.format));
  SWAGE_ASSIGN_OR_RETURN(std::unique_ptr<Codec> codec,
                         maker.make(Params(scheme.keys), maker.context));
  codec->scheme_ = scheme;
  return std::shared_ptr<const Codec>(std::move(codec));
}

}  // namespace swage
