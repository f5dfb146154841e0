#include "core/engine/journal.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "core/engine/earlier.h"
#include "core/engine/file_digest.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using Database = std::unique_ptr<sqlite3, int (*)(sqlite3*)>;

constexpr int kApplicationId = 0x53776167;  // "Swag"
constexpr int kVersion = 2;                 // 2: with digests
constexpr int kBusyMilliseconds = 30'000;   // someone looks into the file with the sqlite3 shell

// An entry's digest is of its kind, key and value; the seal is of all entries.
const char kSchema[] =
    "CREATE TABLE entry(seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,"
    " value TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE(kind, key));"
    "CREATE TABLE seal(id INTEGER PRIMARY KEY, digest TEXT NOT NULL)";
const char kPut[] =
    "INSERT INTO entry(kind, key, value, digest) VALUES(?1, ?2, ?3, ?4)"
    " ON CONFLICT(kind, key) DO UPDATE SET value = excluded.value, digest = excluded.digest";
const char kSeal[] = "INSERT OR REPLACE INTO seal(id, digest) VALUES(1, ?1)";

bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

absl::Status file_error(const std::string& path, const char* what, int error) {
  const std::string text =
      absl::StrCat(path, ": cannot be ", what, " (", std::strerror(error), ")");
  if (is_full(error))
    return absl::ResourceExhaustedError(absl::StrCat(text,
                                                     "; free some space, or choose another "
                                                     "work folder with --work"));
  return absl::UnavailableError(text);
}

// What SQLite found, in our words.
std::string words_of(int code, sqlite3* database) {
  switch (code) {
    case SQLITE_NOMEM:
      return "there is no memory to read it";
    case SQLITE_FULL:
      return "the disk is full";
    case SQLITE_IOERR:
      return "it cannot be read or written";
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return "it cannot be opened for writing";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "it is in use";
    case SQLITE_CORRUPT:
      return "the file is damaged";
    case SQLITE_NOTADB:
      return "this is no SQLite file";
    default:
      return sqlite3_errmsg(database);
  }
}

// The last error of the connection. Nothing of the commit at work is kept.
absl::Status database_error(sqlite3* database, const std::string& path) {
  const int code = sqlite3_errcode(database);
  // SQLite remembers the system's error of a statement, but not that of a COMMIT.
  const int error = sqlite3_system_errno(database) != 0 ? sqlite3_system_errno(database) : errno;
  const std::string text = absl::StrCat(path, ": ", words_of(code, database));
  switch (code) {
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(text);
    case SQLITE_FULL:
    case SQLITE_IOERR:
      if (code == SQLITE_FULL || is_full(error))
        return absl::ResourceExhaustedError(absl::StrCat(
            text, "; what was committed before is kept: free some space, then swage resume"));
      return absl::UnavailableError(
          absl::StrCat(text, error == 0 ? "" : absl::StrCat(" (", std::strerror(error), ")"),
                       "; what was committed before is kept: see to the disk, then swage resume"));
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return absl::UnavailableError(absl::StrCat(text, "; the folder must be writable"));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(
          absl::StrCat(text, "; another program holds the file: end it, then swage resume"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(
          absl::StrCat(text, "; remove the work folder and run the pipeline again"));
    default:
      return absl::InternalError(text);
  }
}

// One prepared statement.
class Statement {
 public:
  Statement(sqlite3* database, const char* sql, std::string path)
      : database_(database), path_(std::move(path)) {
    sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr);
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(statement_); }

  void bind(int index, const std::string& text) {
    sqlite3_bind_text64(statement_, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  // Is there another row?
  absl::StatusOr<bool> step() {
    const int code = statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_);
    if (code == SQLITE_ROW || code == SQLITE_DONE) return code == SQLITE_ROW;
    return database_error(database_, path_);
  }
  void reset() { sqlite3_reset(statement_); }
  int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) {
    const auto* found = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return found == nullptr ? std::string()
                            : std::string(found, sqlite3_column_bytes(statement_, column));
  }

 private:
  sqlite3* database_;
  std::string path_;
  sqlite3_stmt* statement_ = nullptr;
};

absl::Status execute(sqlite3* database, const std::string& path, const std::string& sql) {
  errno = 0;
  if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK)
    return absl::OkStatus();
  return database_error(database, path);
}

absl::StatusOr<Database> connect(const std::string& path, int flags) {
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
  Database database(opened, sqlite3_close_v2);
  if (code != SQLITE_OK) return database_error(opened, path);
  sqlite3_busy_timeout(opened, kBusyMilliseconds);
  sqlite3_extended_result_codes(opened, 0);
  // EXTRA is FULL and a sync of the folder: without it a power cut may bring a rollback journal
  // back, and a commit that was reported is undone.
  SWAGE_RETURN_IF_ERROR(
      execute(opened, path, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA"));
  return database;
}

std::string entry_digest(const std::string& kind, const std::string& key,
                         const std::string& value) {
  return text_digest(absl::StrCat(kind, "\n", key, "\n", value));
}

// The digests of all entries, in order: a row that is lost is noticed like one that is changed.
absl::StatusOr<std::string> seal_of(sqlite3* database, const std::string& path) {
  Statement statement(database, "SELECT digest FROM entry ORDER BY seq", path);
  std::string all;
  for (;;) {
    SWAGE_ASSIGN_OR_RETURN(const bool row, statement.step());
    if (!row) return text_digest(all);
    all += statement.text(0);
  }
}

absl::Status put(sqlite3* database, const std::string& path,
                 const std::vector<Journal::Entry>& entries) {
  Statement statement(database, kPut, path);
  for (const Journal::Entry& entry : entries) {
    const std::string value = to_json(entry.value, -1);
    statement.bind(1, entry.kind);
    statement.bind(2, entry.key);
    statement.bind(3, value);
    statement.bind(4, entry_digest(entry.kind, entry.key, value));
    SWAGE_RETURN_IF_ERROR(statement.step().status());
    statement.reset();
  }
  SWAGE_ASSIGN_OR_RETURN(const std::string seal, seal_of(database, path));
  Statement sealing(database, kSeal, path);
  sealing.bind(1, seal);
  return sealing.step().status();
}

// All of `work`, or nothing of it.
template <class Work>
absl::Status in_transaction(sqlite3* database, const std::string& path, Work work) {
  SWAGE_RETURN_IF_ERROR(execute(database, path, "BEGIN IMMEDIATE"));
  absl::Status status = work();
  if (status.ok()) status = execute(database, path, "COMMIT");
  if (!status.ok() && sqlite3_get_autocommit(database) == 0)
    sqlite3_exec(database, "ROLLBACK", nullptr, nullptr, nullptr);
  return status;
}

absl::Status sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return file_error(folder, "opened", errno);
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  return result == 0 ? absl::OkStatus() : file_error(folder, "synced", error);
}

// The complete file under its own name. It appears there by a rename: a process that dies before
// leaves a .new, which the next one replaces.
absl::Status make_database(const std::string& work, const std::vector<Journal::Entry>& entries) {
  const std::string path = work + "/run.db", fresh = path + ".new";
  // A rollback journal without its database would be played back into the next one of that name.
  for (const std::string& old : {fresh, fresh + "-journal", path + "-journal"}) {
    if (::unlink(old.c_str()) != 0 && errno != ENOENT) return file_error(old, "removed", errno);
  }
  SWAGE_ASSIGN_OR_RETURN(Database database,
                         connect(fresh, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  SWAGE_RETURN_IF_ERROR(in_transaction(database.get(), fresh, [&]() -> absl::Status {
    SWAGE_RETURN_IF_ERROR(
        execute(database.get(), fresh,
                absl::StrCat(kSchema, "; PRAGMA application_id = ", kApplicationId,
                             "; PRAGMA user_version = ", kVersion)));
    return put(database.get(), fresh, entries);
  }));
  database.reset();
  if (::rename(fresh.c_str(), path.c_str()) != 0) return file_error(path, "created", errno);
  return sync_folder(work);
}

absl::Status damaged(const std::string& path, const std::string& how) {
  return absl::DataLossError(absl::StrCat(path, ": the file is damaged (", how,
                                          "); remove the work folder and run again"));
}

absl::Status check_identity(sqlite3* database, const std::string& path) {
  const auto pragma = [&](const char* name) -> absl::StatusOr<std::string> {
    Statement statement(database, absl::StrCat("PRAGMA ", name).c_str(), path);
    SWAGE_ASSIGN_OR_RETURN(const bool row, statement.step());
    return row ? statement.text(0) : std::string();
  };
  SWAGE_ASSIGN_OR_RETURN(const std::string id, pragma("application_id"));
  if (id != absl::StrCat(kApplicationId))
    return absl::DataLossError(
        absl::StrCat(path, ": this SQLite file is no run of swage (application_id ", id,
                     ", expected ", kApplicationId, "); name the work folder of a run"));
  SWAGE_ASSIGN_OR_RETURN(const std::string version, pragma("user_version"));
  if (version != absl::StrCat(kVersion))
    return absl::DataLossError(absl::StrCat(path, ": the run has format ", version,
                                            ", this swage reads format ", kVersion,
                                            "; continue it with the swage that began it"));
  SWAGE_ASSIGN_OR_RETURN(const std::string damage, pragma("integrity_check(1)"));
  return damage == "ok" ? absl::OkStatus() : damaged(path, damage);
}

// SQLite knows its pages, not what stands in them.
absl::Status check_digests(sqlite3* database, const std::string& path) {
  Statement entry(database, "SELECT kind, key, value, digest FROM entry ORDER BY seq", path);
  for (;;) {
    SWAGE_ASSIGN_OR_RETURN(const bool row, entry.step());
    if (!row) break;
    if (entry_digest(entry.text(0), entry.text(1), entry.text(2)) != entry.text(3))
      return damaged(path, absl::StrCat("entry ", entry.text(0), " \"", entry.text(1),
                                        "\" does not have its digest"));
  }
  Statement seal(database, "SELECT digest FROM seal WHERE id = 1", path);
  SWAGE_ASSIGN_OR_RETURN(const bool row, seal.step());
  const std::string recorded = row ? seal.text(0) : "";
  SWAGE_ASSIGN_OR_RETURN(const std::string found, seal_of(database, path));
  return found == recorded ? absl::OkStatus()
                           : damaged(path, "the entries are not those that were committed");
}

// Ends with the process, however that ends.
absl::StatusOr<int> lock(const std::string& work) {
  const std::string path = work + "/lock";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return file_error(path, "opened", errno);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  const int error = errno;
  ::close(descriptor);
  if (error != EWOULDBLOCK) return file_error(path, "locked", error);
  return with_exit_code(absl::FailedPreconditionError(absl::StrCat(
                            work, ": another swage works in this folder (it holds ", path,
                            "); wait for it or end it, or choose another folder with --work")),
                        ExitCode::kUsage);
}

absl::StatusOr<Value> read_value(const std::string& json, const std::string& path,
                                 const std::string& kind, const std::string& key) {
  auto value = parse_json(json, absl::StrCat(path, ", ", kind, " \"", key, "\""));
  return value.ok() ? std::move(value) : absl::DataLossError(value.status().message());
}

}  // namespace

Journal::Journal(Journal&& other) noexcept
    : work_(std::move(other.work_)),
      database_(std::move(other.database_)),
      lock_(std::exchange(other.lock_, -1)) {}

Journal& Journal::operator=(Journal&& other) noexcept {
  std::swap(work_, other.work_);
  std::swap(database_, other.database_);
  std::swap(lock_, other.lock_);
  return *this;
}

Journal::~Journal() {
  database_.reset();
  if (lock_ >= 0) ::close(lock_);
}

absl::StatusOr<Journal> Journal::create(const std::string& work,
                                        const std::vector<Entry>& entries) {
  std::error_code error;
  fs::create_directories(work, error);
  if (error) return file_error(work, "created", error.value());
  Journal journal;
  journal.work_ = work;
  SWAGE_ASSIGN_OR_RETURN(journal.lock_, lock(work));
  if (fs::exists(work + "/run.db"))
    return with_exit_code(absl::AlreadyExistsError(absl::StrCat(
                              work, ": an earlier run is here; continue it with \"swage resume ",
                              work, "\", remove the folder, or choose another one with --work")),
                          ExitCode::kUsage);
  SWAGE_RETURN_IF_ERROR(make_database(work, entries));
  SWAGE_ASSIGN_OR_RETURN(journal.database_, connect(work + "/run.db", SQLITE_OPEN_READWRITE));
  return journal;
}

absl::StatusOr<Journal> Journal::open(const std::string& work) {
  const std::string path = work + "/run.db";
  if (!fs::exists(path))
    return absl::NotFoundError(absl::StrCat(
        work, ": there is no run.db; expected the [run] work folder of an earlier swage run"));
  Journal journal;
  journal.work_ = work;
  SWAGE_ASSIGN_OR_RETURN(journal.lock_, lock(work));
  SWAGE_ASSIGN_OR_RETURN(journal.database_, connect(path, SQLITE_OPEN_READWRITE));
  SWAGE_RETURN_IF_ERROR(check_identity(journal.database_.get(), path));
  SWAGE_RETURN_IF_ERROR(check_digests(journal.database_.get(), path));
  return journal;
}

bool Journal::is_one(const std::string& work) {
  constexpr size_t kHeaderBytes = 100, kIdAt = 68;
  std::string header(kHeaderBytes, '\0');
  std::error_code error;
  if (!fs::is_regular_file(work + "/run.db", error)) return false;
  if (!std::ifstream(work + "/run.db", std::ios::binary).read(header.data(), kHeaderBytes))
    return false;
  uint32_t id = 0;
  for (size_t i = 0; i < 4; ++i) id = id << 8 | static_cast<uint8_t>(header[kIdAt + i]);
  return header.rfind("SQLite format 3", 0) == 0 && id == kApplicationId;
}

absl::Status Journal::discard(const std::string& work) {
  std::error_code error;
  if (!fs::exists(work + "/run.db", error)) return absl::OkStatus();
  if (!is_one(work)) {
    return with_exit_code(
        absl::FailedPreconditionError(absl::StrCat(
            work,
            ": run.db is no journal of swage; move it away, or choose another folder with "
            "--work")),
        ExitCode::kUsage);
  }
  // A damaged one may go; not one that is at work: it holds its lock.
  SWAGE_ASSIGN_OR_RETURN(const int held, lock(work));
  const absl::Status removed = remove_earlier_work(work);
  ::close(held);
  return removed;
}

absl::Status Journal::commit(const std::vector<Entry>& entries) {
  const std::string path = work_ + "/run.db";
  return in_transaction(database_.get(), path, [&] { return put(database_.get(), path, entries); });
}

absl::Status Journal::begin_again(const std::vector<Entry>& entries) {
  const std::string path = work_ + "/run.db";
  return in_transaction(database_.get(), path, [&]() -> absl::Status {
    SWAGE_RETURN_IF_ERROR(execute(database_.get(), path, "DELETE FROM entry WHERE kind <> 'run'"));
    return put(database_.get(), path, entries);
  });
}

absl::StatusOr<Value> Journal::get(const std::string& kind, const std::string& key) const {
  const std::string path = work_ + "/run.db";
  Statement statement(database_.get(), "SELECT value FROM entry WHERE kind = ?1 AND key = ?2",
                      path);
  statement.bind(1, kind);
  statement.bind(2, key);
  SWAGE_ASSIGN_OR_RETURN(const bool row, statement.step());
  return row ? read_value(statement.text(0), path, kind, key) : Value();
}

absl::StatusOr<std::vector<Journal::Entry>> Journal::all(const std::string& kind) const {
  const std::string path = work_ + "/run.db";
  Statement statement(database_.get(), "SELECT key, value FROM entry WHERE kind = ?1 ORDER BY seq",
                      path);
  statement.bind(1, kind);
  std::vector<Entry> entries;
  for (;;) {
    SWAGE_ASSIGN_OR_RETURN(const bool row, statement.step());
    if (!row) return entries;
    SWAGE_ASSIGN_OR_RETURN(Value value,
                           read_value(statement.text(1), path, kind, statement.text(0)));
    entries.push_back({kind, statement.text(0), std::move(value)});
  }
}

}  // namespace swage
