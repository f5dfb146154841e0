#include "core/catalog/elf_note.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/elf_writer.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::HasSubstr;
using testing::StartsWith;

absl::StatusOr<ElfNotes> parse(const std::string& file) {
  return parse_elf_notes(file.size(), [&](uint64_t offset, void* out, size_t size) {
    if (offset > file.size() || size > file.size() - offset) return false;
    std::memcpy(out, file.data() + offset, size);
    return true;
  });
}

std::string refusal(const std::string& file) { return std::string(parse(file).status().message()); }

const std::vector<TestNote> kNotes = {build_id_note("\x01\xab"), fingerprint_note("swage=1.0"),
                                      manifest_note("id = \"small\"\n")};

TEST(ElfNote, ReadsFingerprintManifestAndBuildId) {
  const auto notes = parse(elf_with(kNotes));
  ASSERT_TRUE(notes.ok()) << notes.status();
  EXPECT_EQ(notes->fingerprint, "swage=1.0");
  EXPECT_EQ(notes->manifest, "id = \"small\"\n");
  EXPECT_EQ(notes->build_id, "01ab");
}

TEST(ElfNote, StopsAtTheTerminatorOfTheText) {
  EXPECT_EQ(parse(elf_with({fingerprint_note(std::string("a=1\0junk", 8))}))->fingerprint, "a=1");
}

TEST(ElfNote, KeepsEmptyWhatALibraryWithoutNotesDoesNotSay) {
  const auto notes = parse(elf_with({{"stapsdt", 3, "probe"}, {"SWAG", 1, "other owner"}}));
  ASSERT_TRUE(notes.ok()) << notes.status();
  EXPECT_EQ(notes->fingerprint + notes->manifest + notes->build_id, "");
}

TEST(ElfNote, TellsOtherFilesFromDamagedOnes) {
  EXPECT_EQ(refusal(""), "no ELF file");
  EXPECT_EQ(refusal("#!/bin/sh\necho a text that is longer than the header of an ELF file is\n"),
            "no ELF file");
  std::string file = elf_with(kNotes);
  file[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(refusal(file), "an ELF file, but no 64-bit little-endian shared library");
  EXPECT_TRUE(absl::IsInvalidArgument(parse(file).status()));
}

TEST(ElfNote, RefusesEveryTruncation) {
  const std::string file = elf_with(kNotes);
  for (size_t size = 0; size < file.size(); ++size) {
    const auto notes = parse(file.substr(0, size));
    ASSERT_FALSE(notes.ok()) << size << " bytes of " << file.size();
    if (size >= sizeof(Elf64_Ehdr)) {
      EXPECT_THAT(std::string(notes.status().message()), StartsWith("truncated: the file has "));
      EXPECT_TRUE(absl::IsDataLoss(notes.status()));
    }
  }
}

TEST(ElfNote, RefusesSizesThatTheFileCannotHold) {
  std::string file = elf_with(kNotes);
  const uint16_t many = 0xffff;
  std::memcpy(file.data() + offsetof(Elf64_Ehdr, e_phnum), &many, sizeof many);
  EXPECT_THAT(refusal(file), StartsWith("damaged: 65535 program headers of 56 bytes"));

  file = elf_with(kNotes);
  const uint64_t huge = ~uint64_t{0} - 8;
  const size_t note = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
  std::memcpy(file.data() + note + offsetof(Elf64_Phdr, p_filesz), &huge, sizeof huge);
  EXPECT_THAT(refusal(file), HasSubstr("expected at most 4194304"));

  file = elf_with(kNotes);
  const uint32_t long_text = 0xfffffffd;
  std::memcpy(file.data() + note + sizeof(Elf64_Phdr) + offsetof(Elf64_Nhdr, n_descsz), &long_text,
              sizeof long_text);
  EXPECT_EQ(refusal(file), "damaged: a note reaches beyond its segment");
}

TEST(ElfNote, SurvivesFlippedBits) {
  const std::string good = elf_with(kNotes);
  std::mt19937 random(7);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string file = good;
    for (int flips = 0; flips < 3; ++flips) file[random() % file.size()] ^= 1 << random() % 8;
    refused += parse(file).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 400);
}

TEST(ElfNote, NamesWhatIsNoRegularFile) {
  EXPECT_EQ(read_elf_notes("/").status().message(), "no regular file");
  EXPECT_EQ(read_elf_notes("/does/not/exist").status().message(),
            "cannot read it: No such file or directory");
}

}  // namespace
}  // namespace swage
