#include "core/engine/source_header.h"

#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
absl::StatusOr<io::Header> header_of(const WeightSource& source) {
  io::Header header;
  for (const std::string& name : source.names()) {
    io::TensorInfo info;
    SWAGE_ASSIGN_OR_RETURN(info.shape, source.shape(name));
    SWAGE_ASSIGN_OR_RETURN(const at::ScalarType type, source.dtype(name));
    SWAGE_ASSIGN_OR_RETURN(info.type, io::to_stored_type(type));
    info.end = io::byte_size(info.type);
    for (const int64_t size : info.shape) info.end *= size;
    header.emplace_hint(header.end(), name, std::move(info));  // names are sorted
  }
  return header;
}

}  // namespace swage
