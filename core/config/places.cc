#include "core/config/places.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/base/shell_quoted.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestName = 255, kLongestPath = 3800;  // of the system, less what is appended
constexpr size_t kLongestSuffix = 48;  // ".part", and the names of temporary files

struct Place {
  std::string path, what;
  SourceLocation where;
  bool is_export = false;
};

// Links followed and ".." taken out; the path itself where the system does not tell.
fs::path settled(const std::string& path) {
  std::error_code error;
  const fs::path found = fs::weakly_canonical(path, error);
  return error ? fs::path(path).lexically_normal() : found;
}

// Is `inner` the folder `outer`, or below it?
bool lies_in(const fs::path& inner, const fs::path& outer) {
  auto part = inner.begin();
  for (const fs::path& step : outer) {
    if (step.empty()) continue;
    if (part == inner.end() || *part != step) return false;
    ++part;
  }
  return true;
}

std::string why_no_folder(const std::string& path) {
  if (path.empty()) return "which names no folder";
  if (path.find('\0') != std::string::npos) return "which holds a zero byte";
  if (path == "/") return "the root of all folders";
  if (path.size() > kLongestPath)
    return absl::StrCat("a path of ", path.size(), " bytes, where ", kLongestPath, " are possible");
  for (const fs::path& part : fs::path(path)) {
    if (part == "~") return "where ~ is no folder but a shell's shorthand; write the folder out";
    const size_t size = part.string().size();
    if (size + kLongestSuffix > kLongestName) {
      return absl::StrCat("with a name of ", size, " bytes, where ", kLongestName - kLongestSuffix,
                          " are possible (files beside it get longer ones)");
    }
  }
  return "";
}

// The deepest folder above `path` that exists.
fs::path ground(const fs::path& path) {
  std::error_code error;
  fs::path above = path;
  while (above.has_relative_path() && !fs::exists(fs::symlink_status(above, error)))
    above = above.parent_path();
  return above;
}

std::string why_not_writable(const std::string& path) {
  const fs::path folder = ground(path);
  struct stat info = {};
  if (stat(folder.c_str(), &info) != 0)
    return absl::StrCat("\"", folder.string(), "\" cannot be looked at (", std::strerror(errno),
                        ")");
  if (!S_ISDIR(info.st_mode)) return absl::StrCat("\"", folder.string(), "\" is no folder");
  if (access(folder.c_str(), W_OK | X_OK) == 0) return "";
  return absl::StrCat("\"", folder.string(), "\" cannot be written to (", std::strerror(errno),
                      ")");
}

// Empty, or why an export cannot be made; `filled`: there is a folder that holds something.
std::string why_not_vacant(const ExportSpec& spec, bool* filled) {
  std::error_code error;
  *filled = false;
  const fs::file_status status = fs::symlink_status(spec.path, error);
  if (!fs::exists(status)) return "";
  if (fs::is_symlink(status)) return "is a link, which an export does not replace";
  if (!fs::is_directory(status)) return "is no folder";
  struct stat own = {}, above = {};
  const std::string parent = fs::path(spec.path).parent_path().string();
  if (stat(spec.path.c_str(), &own) == 0 && stat(parent.c_str(), &above) == 0 &&
      own.st_dev != above.st_dev) {
    return "is a mount point, which cannot be replaced; name a folder in it";
  }
  *filled = !fs::is_empty(spec.path, error) || error;
  return *filled ? "exists already" : "";
}

absl::Status at(const SourceLocation& where, const std::string& text, ExitCode code) {
  return with_exit_code(absl::AlreadyExistsError(absl::StrCat(where.text(), ": ", text)), code);
}

absl::Status check_work(const Pipeline& pipeline, const Earlier* earlier) {
  const std::string& work = pipeline.run.work;
  const SourceLocation where{pipeline.file};
  std::error_code error;
  const fs::file_status status = fs::status(work, error);
  if (!fs::exists(status)) {
    const std::string wrong = why_not_writable(work);
    if (wrong.empty()) return absl::OkStatus();
    return at(where, absl::StrCat("the work folder \"", work, "\" cannot be made: ", wrong),
              ExitCode::kResources);
  }
  const auto refuse = [&](const std::string& wrong) {
    return at(where,
              absl::StrCat("the work folder \"", work, "\" ", wrong,
                           "; name a folder of its own ([run] work = \"…\", or --work)"),
              ExitCode::kPipeline);
  };
  if (!fs::is_directory(status)) return refuse("is no folder");
  if (fs::exists(work + "/run.db", error)) {
    if (earlier != nullptr) return annotate(earlier->work(work), where.text());
    return at(where,
              absl::StrCat("the work folder \"", work,
                           "\" holds an earlier run; continue it with "
                           "`swage resume ",
                           shell_quoted(work),
                           "`, replace it with --overwrite, "
                           "or name another folder with --work"),
              ExitCode::kUsage);
  }
  // What a run makes before and beside its journal, and leaves where it could not begin.
  const std::set<std::string> own = {"lock", "parts", "state", "result.json"};
  for (fs::directory_iterator it(work, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (own.count(name) == 0 && name.rfind("run.db", 0) != 0)
      return refuse(absl::StrCat("holds files of others (", name, ")"));
  }
  if (error) return refuse(absl::StrCat("cannot be read (", error.message(), ")"));
  const std::string wrong = why_not_writable(work);
  return wrong.empty() ? absl::OkStatus() : refuse(absl::StrCat("is of no use: ", wrong));
}

}  // namespace

std::string why_no_file_name(const std::string& name) {
  if (name.empty()) return "is empty";
  if (name == "." || name == "..") return "names a folder";
  if (name.size() + kLongestSuffix > kLongestName)
    return absl::StrCat("has ", name.size(), " bytes, at most ", kLongestName - kLongestSuffix,
                        " are possible");
  for (const char c : name) {
    if (c == '/') return "holds a /";
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "holds a control character";
  }
  return "";
}

void check_places(const Pipeline& pipeline, const Document& document, Problems* problems) {
  std::vector<Place> places = {
      {pipeline.run.work, "the work folder", document.place("run.work").value, false}};
  if (!pipeline.run.reference_cache.empty()) {
    places.push_back({pipeline.run.reference_cache, "the reference cache",
                      document.place("run.reference_cache").value, false});
  }
  for (size_t i = 0; i < pipeline.exports.size(); ++i) {
    const ExportSpec& spec = pipeline.exports[i];
    places.push_back({spec.path, absl::StrCat("export \"", spec.name, "\""),
                      document.place(absl::StrCat("export[", i, "].path")).value, true});
  }
  const fs::path model = settled(pipeline.model_path);
  for (size_t i = 0; i < places.size(); ++i) {
    const Place& place = places[i];
    const auto add = [&](const std::string& text) {
      problems->add(place.where,
                    absl::StrCat(place.what, " is to be \"", place.path, "\", ", text));
    };
    const std::string wrong = why_no_folder(place.path);
    if (!wrong.empty()) {
      add(wrong + "; expected the path of a folder to be made");
      continue;
    }
    const fs::path own = settled(place.path);
    if (lies_in(settled("."), own))
      add("which is the folder that swage was called in or one above it; name a folder in it");
    if (!pipeline.model_path.empty()) {
      if (own == model)
        add("the same folder as the model itself; nothing would be left of one of them");
      else if (lies_in(own, model))
        add("which lies in the model's folder; put it elsewhere");
      else if (place.is_export && lies_in(model, own))
        add("which is to hold the model itself; name a folder beside it");
    }
    for (size_t j = 0; j < i; ++j) {
      const Place& other = places[j];
      const fs::path theirs = settled(other.path);
      if (!why_no_folder(other.path).empty()) continue;
      if (own == theirs)
        add(absl::StrCat("the same folder as ", other.what,
                         "; nothing would be left of one of them"));
      else if (other.is_export && lies_in(own, theirs))
        add(absl::StrCat("which lies in ", other.what, "; put them beside each other"));
      else if (lies_in(theirs, own))
        add(absl::StrCat("which is to hold ", other.what, "; put them beside each other"));
    }
  }
}

namespace {

// A run is recorded as JSON, from which it is resumed.
bool comes_back_from_json(const std::string& path) {
  const auto back = parse_json(to_json(Value(path)), "");
  return back.ok() && back->text() != nullptr && *back->text() == path;
}

absl::Status check_names(const Pipeline& pipeline) {
  std::error_code error;
  std::vector<std::string> paths = {fs::current_path(error).string(), pipeline.model_path,
                                    pipeline.run.work};
  for (const ExportSpec& spec : pipeline.exports) paths.push_back(spec.path);
  for (const std::string& path : paths) {
    if (comes_back_from_json(path)) continue;
    return with_exit_code(absl::InvalidArgumentError(absl::StrCat(
                              path,
                              ": this path is not UTF-8, so a run that it belongs to could "
                              "not be resumed; use another folder, or a link to it")),
                          ExitCode::kPipeline);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status check_vacant(const Pipeline& pipeline, const Earlier* earlier) {
  SWAGE_RETURN_IF_ERROR(check_names(pipeline));
  SWAGE_RETURN_IF_ERROR(check_work(pipeline, earlier));
  for (const ExportSpec& spec : pipeline.exports) {
    const std::string name = absl::StrCat("\"", spec.path, "\"");
    bool filled = false;
    const std::string taken = why_not_vacant(spec, &filled);
    if (filled && earlier != nullptr) {
      SWAGE_RETURN_IF_ERROR(annotate(earlier->exported(spec.path), spec.where.text()));
    } else if (!taken.empty()) {
      return at(spec.where,
                absl::StrCat(name, " ", taken, "; remove it, or name another path (--set export.",
                             spec.name, ".path=…)",
                             filled ? "; --overwrite replaces an export of an earlier run" : ""),
                ExitCode::kPipeline);
    }
    const std::string wrong = why_not_writable(fs::path(spec.path).parent_path().string());
    if (!wrong.empty())
      return at(spec.where, absl::StrCat(name, " cannot be made: ", wrong), ExitCode::kResources);
  }
  return absl::OkStatus();
}

}  // namespace swage
