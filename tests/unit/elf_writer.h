#pragma once
#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "swage/abi.h"

namespace swage::testing_support {

struct TestNote {
  std::string owner;  // its closing NUL is added
  uint32_t type = 0;
  std::string text;
};

inline std::string bytes_of(const void* data, size_t size) {
  return {static_cast<const char*>(data), size};
}

inline std::string padded(std::string text) {
  text.resize((text.size() + 3) / 4 * 4, '\0');
  return text;
}

// The smallest shared library that holds these notes: header, two program headers, notes, one
// section header at the end.
inline std::string elf_with(const std::vector<TestNote>& notes) {
  std::string content;
  for (const TestNote& note : notes) {
    const std::string owner = note.owner + '\0';
    const Elf64_Nhdr header = {static_cast<uint32_t>(owner.size()),
                               static_cast<uint32_t>(note.text.size()), note.type};
    content += bytes_of(&header, sizeof header) + padded(owner) + padded(note.text);
  }
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_DYN;
  header.e_phoff = sizeof header;
  header.e_phnum = 2;
  header.e_phentsize = sizeof(Elf64_Phdr);
  const uint64_t start = sizeof header + 2 * sizeof(Elf64_Phdr);
  header.e_shoff = start + content.size();
  header.e_shnum = 1;
  header.e_shentsize = sizeof(Elf64_Shdr);
  Elf64_Phdr load = {};
  load.p_type = PT_LOAD;
  load.p_filesz = start + content.size();
  Elf64_Phdr note = {};
  note.p_type = PT_NOTE;
  note.p_offset = start;
  note.p_filesz = content.size();
  const Elf64_Shdr section = {};
  return bytes_of(&header, sizeof header) + bytes_of(&load, sizeof load) +
         bytes_of(&note, sizeof note) + content + bytes_of(&section, sizeof section);
}

inline TestNote fingerprint_note(const std::string& text) {
  return {SWAGE_NOTE_OWNER, SWAGE_NOTE_FINGERPRINT, text};
}
inline TestNote manifest_note(const std::string& text) {
  return {SWAGE_NOTE_OWNER, SWAGE_NOTE_MANIFEST, text};
}
inline TestNote build_id_note(const std::string& bytes) { return {"GNU", NT_GNU_BUILD_ID, bytes}; }

}  // namespace swage::testing_support
