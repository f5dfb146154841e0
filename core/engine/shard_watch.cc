#include "core/engine/shard_watch.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/exit_codes.h"
#include "core/engine/file_digest.h"
#include "core/engine/process.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKind = "shard";
constexpr int64_t kNanoseconds = 1'000'000'000;

std::string name_of(const std::string& path) { return fs::path(path).filename().string(); }

absl::Status changed(const std::string& path, const std::string& how) {
  return with_exit_code(
      absl::FailedPreconditionError(absl::StrCat(
          path, ": has changed since the run began (", how,
          "); put the file back as it was and `swage resume`, or start a new run with another "
          "--work")),
      ExitCode::kInput);
}

}  // namespace

bool ShardWatch::Stamp::operator==(const Stamp& other) const {
  return device == other.device && inode == other.inode && size == other.size &&
         modified == other.modified && changed == other.changed;
}

absl::StatusOr<ShardWatch::Stamp> ShardWatch::stamp_of(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0)
    return absl::NotFoundError(
        absl::StrCat(path, ": cannot be looked at (", std::strerror(errno), ")"));
  const auto time = [](const timespec& at) { return at.tv_sec * kNanoseconds + at.tv_nsec; };
  return Stamp{static_cast<int64_t>(info.st_dev), static_cast<int64_t>(info.st_ino), info.st_size,
               time(info.st_mtim), time(info.st_ctim)};
}

absl::StatusOr<std::unique_ptr<ShardWatch>> ShardWatch::of_model(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> files, io::checkpoint_files(path));
  std::unique_ptr<ShardWatch> watch(new ShardWatch());
  for (const std::string& file : files) {
    SWAGE_ASSIGN_OR_RETURN(const Stamp stamp, stamp_of(file));
    watch->shards_.push_back({file, stamp, {}, true});
  }
  return watch;
}

ShardWatch::~ShardWatch() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

// A GGUF file is one piece.
absl::StatusOr<std::map<std::string, std::string>> ShardWatch::digests_of(
    const std::string& path) const {
  std::map<std::string, std::string> digests;
  if (!absl::EndsWith(path, ".safetensors")) {
    SWAGE_ASSIGN_OR_RETURN(const Stamp stamp, stamp_of(path));
    SWAGE_ASSIGN_OR_RETURN(digests[""], file_digest(path, 0, stamp.size, &stop_));
    return digests;
  }
  SWAGE_ASSIGN_OR_RETURN(const io::Header header, io::read_header(path));
  for (const auto& [name, tensor] : header) {
    SWAGE_ASSIGN_OR_RETURN(digests[name], file_digest(path, tensor.begin, tensor.end, &stop_));
  }
  return digests;
}

// Is the file what it was? Its stamp is new then.
absl::Status ShardWatch::confirm(Shard& shard) {
  const auto stamp = stamp_of(shard.path);
  if (!stamp.ok()) return changed(shard.path, std::string(stamp.status().message()));
  if (*stamp == shard.stamp) return absl::OkStatus();
  if (shard.digests.empty())
    return changed(shard.path, "its times or its size differ, and the run had not read it whole");
  const auto now = digests_of(shard.path);
  if (!now.ok()) return changed(shard.path, std::string(now.status().message()));
  for (const auto& [name, digest] : shard.digests) {
    const auto found = now->find(name);
    if (found == now->end() || found->second != digest)
      return changed(shard.path,
                     name.empty() ? "other bytes" : absl::StrCat("tensor \"", name, "\" differs"));
  }
  shard.stamp = *stamp;
  shard.is_news = true;
  return absl::OkStatus();
}

absl::Status ShardWatch::check() {
  const std::lock_guard<std::mutex> held(mutex_);
  for (Shard& shard : shards_) SWAGE_RETURN_IF_ERROR(confirm(shard));
  return absl::OkStatus();
}

absl::Status ShardWatch::take_up(const Journal& journal) {
  for (Shard& shard : shards_) {
    SWAGE_ASSIGN_OR_RETURN(const Value known, journal.get(kKind, name_of(shard.path)));
    if (known.is_null()) continue;  // no block was committed yet
    shard.stamp = {known.i64("device", 0), known.i64("inode", 0), known.i64("size", 0),
                   known.i64("modified", 0), known.i64("changed", 0)};
    if (const Value::Table* digests = known["digests"].table()) {
      for (const auto& [name, digest] : *digests)
        shard.digests[name] = digest.text() ? *digest.text() : "";
    }
    shard.is_news = false;
    SWAGE_RETURN_IF_ERROR(confirm(shard));
  }
  return absl::OkStatus();
}

void ShardWatch::start() {
  if (thread_.joinable()) return;
  const bool all_known = std::all_of(shards_.begin(), shards_.end(),
                                     [](const Shard& shard) { return !shard.digests.empty(); });
  if (all_known) return;
  at_work_ = true;
  thread_ = std::thread([this] {
    try {
      take_digests();
    } catch (const std::exception&) {  // no memory; what has no digest counts as not read
    }
    at_work_ = false;
  });
}

void ShardWatch::take_digests() {
  for (Shard& shard : shards_) {
    {
      const std::lock_guard<std::mutex> held(mutex_);
      if (!shard.digests.empty()) continue;
    }
    // A file that cannot be read or changes meanwhile keeps none: check() says so.
    auto digests = digests_of(shard.path);
    const auto stamp = stamp_of(shard.path);
    const std::lock_guard<std::mutex> held(mutex_);
    if (!digests.ok() || !stamp.ok() || !(*stamp == shard.stamp)) continue;
    shard.digests = *std::move(digests);
    shard.is_news = true;
  }
}

absl::Status ShardWatch::complete() {
  start();
  while (at_work_) {
    SWAGE_RETURN_IF_ERROR(interrupted());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  SWAGE_RETURN_IF_ERROR(check());
  const std::lock_guard<std::mutex> held(mutex_);
  for (Shard& shard : shards_) SWAGE_RETURN_IF_ERROR(fill_gaps(&shard));
  return absl::OkStatus();
}

// Of tensors that were of no use once, and were mended.
absl::Status ShardWatch::fill_gaps(Shard* shard) const {
  if (shard->digests.empty() || !absl::EndsWith(shard->path, ".safetensors"))
    return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const io::Header header, io::read_header(shard->path));
  for (const auto& [name, tensor] : header) {
    if (shard->digests.count(name) > 0) continue;
    SWAGE_ASSIGN_OR_RETURN(shard->digests[name],
                           file_digest(shard->path, tensor.begin, tensor.end, &stop_));
    shard->is_news = true;
  }
  return absl::OkStatus();
}

void ShardWatch::tell_again() {
  const std::lock_guard<std::mutex> held(mutex_);
  for (Shard& shard : shards_) shard.is_news = true;
}

void ShardWatch::forget(absl::string_view error) {
  const std::vector<std::string> words = absl::StrSplit(error, absl::ByAnyChar(" :,;\n"));
  const std::lock_guard<std::mutex> held(mutex_);
  for (Shard& shard : shards_) {
    for (const std::string& word : words) shard.is_news |= shard.digests.erase(word) > 0;
  }
}

std::vector<Journal::Entry> ShardWatch::news() {
  const auto begin = std::chrono::steady_clock::now();
  while (at_work_ && std::chrono::steady_clock::now() < begin + patience_)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  patience_ -=
      std::min<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin, patience_);
  const std::lock_guard<std::mutex> held(mutex_);
  std::vector<Journal::Entry> entries;
  for (Shard& shard : shards_) {
    if (!shard.is_news) continue;
    shard.is_news = false;
    Value::Table digests(shard.digests.begin(), shard.digests.end());
    entries.push_back({kKind, name_of(shard.path),
                       Value(Value::Table{{"device", shard.stamp.device},
                                          {"inode", shard.stamp.inode},
                                          {"size", shard.stamp.size},
                                          {"modified", shard.stamp.modified},
                                          {"changed", shard.stamp.changed},
                                          {"digests", std::move(digests)}})});
  }
  return entries;
}

}  // namespace swage
