#include "core/catalog/elf_note.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "swage/abi.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr uint16_t kMaxHeaders = 256;         // linkers write about ten
constexpr uint64_t kMaxNoteBytes = 4u << 20;  // a manifest is a few kilobytes

uint64_t padded(uint64_t size) { return (size + 3) & ~uint64_t{3}; }

class ElfFile {
 public:
  ElfFile(uint64_t size, const ReadAt& read_at) : size_(size), read_at_(read_at) {}

  absl::StatusOr<ElfNotes> notes() {
    SWAGE_RETURN_IF_ERROR(read_header());
    ElfNotes notes;
    for (uint16_t i = 0; i < header_.e_phnum; ++i) {
      Elf64_Phdr segment;
      SWAGE_RETURN_IF_ERROR(read(header_.e_phoff + uint64_t{i} * sizeof segment, &segment,
                                 sizeof segment, "a program header"));
      if (segment.p_type == PT_LOAD) {
        SWAGE_RETURN_IF_ERROR(check_range(segment.p_offset, segment.p_filesz, "a segment"));
      }
      if (segment.p_type == PT_NOTE) SWAGE_RETURN_IF_ERROR(read_notes(segment, &notes));
    }
    return notes;
  }

 private:
  absl::Status read_header() {
    if (size_ < sizeof header_ || !read_at_(0, &header_, sizeof header_) ||
        std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) {
      return absl::InvalidArgumentError("no ELF file");
    }
    if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB ||
        header_.e_type != ET_DYN) {
      return absl::InvalidArgumentError("an ELF file, but no 64-bit little-endian shared library");
    }
    if (header_.e_phnum > kMaxHeaders ||
        (header_.e_phnum > 0 && header_.e_phentsize != sizeof(Elf64_Phdr))) {
      return absl::DataLossError(absl::StrCat("damaged: ", header_.e_phnum, " program headers of ",
                                              header_.e_phentsize, " bytes; expected at most ",
                                              kMaxHeaders, " of ", sizeof(Elf64_Phdr)));
    }
    // The table of sections comes last in a file, so a cut one lacks it.
    return check_range(header_.e_shoff, uint64_t{header_.e_shnum} * header_.e_shentsize,
                       "the table of sections");
  }

  absl::Status read_notes(const Elf64_Phdr& segment, ElfNotes* notes) {
    if (segment.p_filesz > kMaxNoteBytes) {
      return absl::DataLossError(absl::StrCat("damaged: notes of ", segment.p_filesz,
                                              " bytes; expected at most ", kMaxNoteBytes));
    }
    std::string bytes(segment.p_filesz, '\0');
    SWAGE_RETURN_IF_ERROR(read(segment.p_offset, bytes.data(), bytes.size(), "a note"));
    uint64_t at = 0;
    Elf64_Nhdr note;
    while (bytes.size() - at >= sizeof note) {
      std::memcpy(&note, bytes.data() + at, sizeof note);
      const uint64_t owner = at + sizeof note;
      const uint64_t text = owner + padded(note.n_namesz);
      const uint64_t end = text + padded(note.n_descsz);
      if (end > bytes.size())
        return absl::DataLossError("damaged: a note reaches beyond its segment");
      take(note, {bytes.data() + owner, note.n_namesz}, {bytes.data() + text, note.n_descsz},
           notes);
      at = end;
    }
    return absl::OkStatus();
  }

  static void take(const Elf64_Nhdr& note, std::string_view owner, std::string_view content,
                   ElfNotes* notes) {
    constexpr std::string_view kGnu("GNU", 4), kSwage(SWAGE_NOTE_OWNER, sizeof(SWAGE_NOTE_OWNER));
    if (owner == kGnu && note.n_type == NT_GNU_BUILD_ID) {
      notes->build_id = absl::BytesToHexString({content.data(), content.size()});
    }
    if (owner != kSwage) return;
    const std::string text(content.substr(0, content.find('\0')));
    if (note.n_type == SWAGE_NOTE_FINGERPRINT) notes->fingerprint = text;
    if (note.n_type == SWAGE_NOTE_MANIFEST) notes->manifest = text;
  }

  absl::Status check_range(uint64_t offset, uint64_t size, const char* what) const {
    if (offset <= size_ && size <= size_ - offset) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("truncated: the file has ", size_, " bytes, ", what,
                                            " of ", size, " bytes starts at ", offset,
                                            "; copy or build it again"));
  }

  absl::Status read(uint64_t offset, void* out, size_t size, const char* what) const {
    SWAGE_RETURN_IF_ERROR(check_range(offset, size, what));
    if (read_at_(offset, out, size)) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("cannot read ", what, " at ", offset));
  }

  const uint64_t size_;
  const ReadAt& read_at_;
  Elf64_Ehdr header_;
};

}  // namespace

absl::StatusOr<ElfNotes> parse_elf_notes(uint64_t file_size, const ReadAt& read_at) {
  return ElfFile(file_size, read_at).notes();
}

absl::StatusOr<ElfNotes> read_elf_notes(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) {
    const std::string reason = std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::DataLossError(absl::StrCat("cannot read it: ", reason));
  }
  absl::StatusOr<ElfNotes> notes = absl::InvalidArgumentError("no regular file");
  if (S_ISREG(info.st_mode)) {
    notes = parse_elf_notes(
        static_cast<uint64_t>(info.st_size), [fd](uint64_t offset, void* out, size_t size) {
          return pread(fd, out, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
        });
  }
  close(fd);
  return notes;
}

}  // namespace swage
