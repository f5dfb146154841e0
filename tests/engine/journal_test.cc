#include "core/engine/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class JournalTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    work_ = testing::TempDir() + "/journal_" + test->name();
    fs::remove_all(work_);
  }
  void TearDown() override { fs::remove_all(work_); }

  Journal created(const std::vector<Journal::Entry>& entries = {}) const {
    auto journal = Journal::create(work_, entries);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return *std::move(journal);
  }
  Journal opened() const {
    auto journal = Journal::open(work_);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return *std::move(journal);
  }
  absl::Status refusal() const { return Journal::open(work_).status(); }

  void write(const std::string& name, const std::string& content) const {
    fs::create_directories(work_);
    std::ofstream(work_ + "/" + name, std::ios::binary) << content;
  }
  void execute(const std::string& sql) const {
    fs::create_directories(work_);
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((work_ + "/run.db").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
  }

  std::string work_;
};

std::vector<std::string> keys(const absl::StatusOr<std::vector<Journal::Entry>>& entries) {
  std::vector<std::string> found;
  EXPECT_TRUE(entries.ok()) << entries.status();
  for (const Journal::Entry& entry : *entries) found.push_back(entry.key);
  return found;
}

Value value_of(const Journal& journal, const std::string& kind, const std::string& key) {
  const auto value = journal.get(kind, key);
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() ? *value : Value();
}

TEST_F(JournalTest, GivesBackWhatWasCommitted) {
  const Value all(Value::Table{{"text", "a \"b\"\n\xC3\xA9"},
                               {"list", Value::List{1, true, Value()}},
                               {"smallest", std::numeric_limits<int64_t>::min()},
                               {"largest", std::numeric_limits<int64_t>::max()},
                               {"third", 1.0 / 3},
                               {"tiny", 5e-324},
                               {"huge", std::numeric_limits<double>::max()},
                               {"whole", 2.0},
                               {"minus zero", -0.0},
                               {"beyond 2^53", 9007199254740993}});
  {
    Journal journal = created({{"run", "config", all}});
    ASSERT_TRUE(journal.commit({{"block", "language 0", 1}, {"linear", "a.b", 2}}).ok());
  }
  const Journal journal = opened();
  EXPECT_EQ(value_of(journal, "run", "config"), all);
  EXPECT_EQ(value_of(journal, "block", "language 0"), Value(1));
  EXPECT_TRUE(value_of(journal, "block", "language 1").is_null());
  EXPECT_TRUE(value_of(journal, "linear", "language 0").is_null());
  EXPECT_EQ(journal.work(), work_);
  EXPECT_FALSE(fs::exists(work_ + "/run.db.new"));
}

TEST_F(JournalTest, KeepsNoNumberThatJsonDoesNotHave) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Journal journal = created(
      {{"run", "metric", Value::List{std::numeric_limits<double>::quiet_NaN(), infinity, 1.5}}});
  EXPECT_EQ(value_of(journal, "run", "metric"), Value(Value::List{Value(), Value(), 1.5}));
}

TEST_F(JournalTest, ReplacesAValueInItsPlace) {
  Journal journal = created({{"block", "b", 1}, {"block", "a", 2}, {"run", "b", 3}});
  ASSERT_TRUE(journal.commit({{"block", "c", 4}, {"block", "b", 5}, {"block", "b", 6}}).ok());
  EXPECT_THAT(keys(journal.all("block")), ElementsAre("b", "a", "c"));
  EXPECT_EQ(value_of(journal, "block", "b"), Value(6));
  EXPECT_THAT(keys(journal.all("event")), ElementsAre());
}

TEST_F(JournalTest, NamesTheWaysOnWhenThereIsARun) {
  { created(); }
  const absl::Status status = Journal::create(work_, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("\"swage resume " + work_ + "\""), HasSubstr("remove the folder"),
                    HasSubstr("--work")));
}

TEST_F(JournalTest, ReplacesWhatAnInterruptedCreationLeft) {
  write("run.db.new", "half a file");
  write("run.db.new-journal", "half a journal");
  write("run.db-journal", "of a run.db that was removed");
  const Journal journal = created({{"run", "config", 1}});
  EXPECT_EQ(value_of(journal, "run", "config"), Value(1));
}

TEST_F(JournalTest, RefusesFilesThatAreNoJournal) {
  EXPECT_EQ(refusal().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(fs::exists(work_));
  write("run.db", "no database, but more than a hundred bytes " + std::string(100, '-'));
  EXPECT_EQ(refusal().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(refusal().message()), HasSubstr(work_ + "/run.db: "));
  write("run.db", "");
  EXPECT_THAT(std::string(refusal().message()), HasSubstr("is no run of swage"));
  execute("CREATE TABLE entry(x); PRAGMA application_id = 7");
  EXPECT_EQ(refusal().code(), absl::StatusCode::kDataLoss);
}

TEST_F(JournalTest, RefusesAJournalOfALaterVersion) {
  { created(); }
  execute("PRAGMA user_version = 9");
  EXPECT_EQ(refusal().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(refusal().message()), HasSubstr("has format 9, this swage reads"));
}

TEST_F(JournalTest, RefusesATruncatedFile) {
  { created({{"run", "config", std::string(100'000, 'x')}}); }
  const auto size = fs::file_size(work_ + "/run.db");
  for (const auto left : {size - 4096, size / 2, size_t{5000}, size_t{90}}) {
    fs::resize_file(work_ + "/run.db", left);
    EXPECT_EQ(refusal().code(), absl::StatusCode::kDataLoss) << left;
  }
}

TEST_F(JournalTest, RefusesADamagedPage) {
  { created({{"run", "config", std::string(100'000, 'x')}}); }
  std::fstream file(work_ + "/run.db", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  file << std::string(4096, '\xFF') << std::flush;
  EXPECT_EQ(refusal().code(), absl::StatusCode::kDataLoss) << refusal();
}

// Runs `work` in a process of its own; it ends with what `work` returns.
template <class Work>
pid_t child(Work work) {
  const pid_t id = fork();
  if (id == 0) _exit(work());
  return id;
}

int exit_status(pid_t id) {
  int status = -1;
  waitpid(id, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(JournalTest, BelongsToOneProcess) {
  const auto refused = [this] {
    const absl::Status status = refusal();
    return status.code() == absl::StatusCode::kFailedPrecondition &&
           std::string(status.message()).find(work_ + "/lock") != std::string::npos;
  };
  {
    Journal journal = created();
    EXPECT_EQ(exit_status(child([&] { return refused() ? 0 : 1; })), 0);
    Journal moved = std::move(journal);
    EXPECT_EQ(exit_status(child([&] { return refused() ? 0 : 1; })), 0);
    EXPECT_EQ(Journal::create(work_, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(exit_status(child([&] { return refusal().ok() ? 0 : 1; })), 0);
}

TEST_F(JournalTest, KeepsNothingOfACommitThatFailed) {
  Journal journal = created({{"block", "0", 0}});
  // A full disk as far as SQLite can tell: the file may not grow.
  signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 64 << 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status =
      journal.commit({{"block", "0", 1}, {"block", "1", std::string(1 << 20, 'x')}});
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(work_ + "/run.db: "), HasSubstr("free some space")));
  EXPECT_EQ(value_of(journal, "block", "0"), Value(0));
  EXPECT_TRUE(value_of(journal, "block", "1").is_null());
  ASSERT_TRUE(journal.commit({{"block", "1", 2}}).ok());
  EXPECT_THAT(keys(journal.all("block")), ElementsAre("0", "1"));
}

// Each commit changes two entries to the same number; a reader must never see two numbers, nor one
// that is older than what the child reported.
TEST_F(JournalTest, HoldsWholeCommitsAfterKill) {
  { created({{"pair", "a", 0}, {"pair", "b", 0}}); }
  for (int round = 0; round < 5; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t id = child([&] {
      auto journal = Journal::open(work_);
      if (!journal.ok()) return 1;
      for (int64_t i = round * 1'000'000 + 1;; ++i) {
        const std::string padding(20'000, 'x');
        if (!journal
                 ->commit({{"pair", "a", i},
                           {absl::StrCat("padding", i % 7), padding, padding},
                           {"pair", "b", i}})
                 .ok())
          return 1;
        if (::write(ends[1], &i, sizeof i) != ssize_t{sizeof i}) return 1;
      }
    });
    int64_t reported = 0;
    for (int commits = 0; commits < 10; ++commits)
      ASSERT_EQ(::read(ends[0], &reported, sizeof reported), ssize_t{sizeof reported});
    usleep(static_cast<useconds_t>(777 * round));  // another point within a commit each time
    kill(id, SIGKILL);
    exit_status(id);
    close(ends[1]);
    while (::read(ends[0], &reported, sizeof reported) == ssize_t{sizeof reported}) {
    }
    close(ends[0]);
    const Journal journal = opened();
    const Value a = value_of(journal, "pair", "a");
    EXPECT_EQ(a, value_of(journal, "pair", "b"));
    ASSERT_NE(a.integer(), nullptr);
    EXPECT_GE(*a.integer(), reported);
  }
}

TEST_F(JournalTest, AppearsWholeOrNotAtAll) {
  for (int round = 0; round < 20; ++round) {
    fs::remove_all(work_);
    const pid_t id = child([&] {
      const std::vector<Journal::Entry> entries(50, {"run", "config", std::string(9'999, 'x')});
      return Journal::create(work_, entries).ok() ? 0 : 1;
    });
    usleep(static_cast<useconds_t>(300 * round));
    kill(id, SIGKILL);
    exit_status(id);
    if (fs::exists(work_ + "/run.db")) {
      EXPECT_FALSE(value_of(opened(), "run", "config").is_null());
    } else {
      created();
    }
  }
}

}  // namespace
}  // namespace swage
