#include "core/catalog/fingerprint.h"

#include <cstdlib>
#include <map>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace swage {
namespace {

using Fields = std::map<std::string, std::string>;

Fields fields_of(std::string_view fingerprint) {
  Fields fields;
  for (absl::string_view field :
       absl::StrSplit(absl::string_view(fingerprint.data(), fingerprint.size()), ';')) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    fields[std::string(pair.first)] = absl::CHexEscape(pair.second);
  }
  return fields;
}

std::string value(const Fields& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? "(none)" : found->second;
}

struct Version {
  long major = -1, minor = -1;
};

Version version_of(const std::string& text) {
  char* end = nullptr;
  Version version;
  version.major = std::strtol(text.c_str(), &end, 10);
  if (*end != '.') return {};
  version.minor = std::strtol(end + 1, &end, 10);
  return *end == '\0' ? version : Version{};
}

const char* meaning(const std::string& field) {
  if (field == "arch") return "processor";
  if (field == "stl") return "C++ library";
  if (field == "std") return "C++ standard";
  if (field == "torch") return "LibTorch";
  if (field == "absl") return "Abseil";
  if (field == "layout") return "structs that cross the border";
  return "sanitizer";
}

}  // namespace

std::string fingerprint_difference(std::string_view plugin_text, std::string_view host_text) {
  const Fields plugin = fields_of(plugin_text), host = fields_of(host_text);
  std::vector<std::string> lines;
  bool newer = false;
  const Version theirs = version_of(value(plugin, "swage")),
                ours = version_of(value(host, "swage"));
  if (theirs.major != ours.major || theirs.minor != ours.minor) {
    newer = theirs.major > ours.major || (theirs.major == ours.major && theirs.minor > ours.minor);
    lines.push_back(absl::StrCat("swage (interfaces): the plugin was built for ",
                                 value(plugin, "swage"), ", this host offers ",
                                 value(host, "swage")));
  }
  for (const char* field : {"arch", "stl", "std", "torch", "absl", "san", "layout"}) {
    if (value(plugin, field) == value(host, field)) continue;
    lines.push_back(absl::StrCat(field, " (", meaning(field), "): the plugin was built with ",
                                 value(plugin, field), ", this host with ", value(host, field)));
  }
  if (lines.empty()) return "";
  std::string text;
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  return text + (newer ? "update swage, or build the plugin again with this host's SDK"
                       : "build the plugin again with this host's SDK (find_package(swage))");
}

}  // namespace swage
