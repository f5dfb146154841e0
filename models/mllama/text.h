#pragma once
#include "swage/nn/decoder.h"

// The language model of Llama 3.2 Vision: a Llama of which some blocks look at images.
namespace swage::mllama {

constexpr int64_t kMoreEmbeddings = 8;  // rows of the table that the head does not have

absl::StatusOr<nn::DecoderDescription> describe_text(const Value& config);

// Of the blocks that look at images.
nn::DecoderDescription looking(nn::DecoderDescription d);

// Of all others.
class Text final : public nn::DecoderAdapter {
 protected:
  absl::StatusOr<nn::DecoderDescription> describe(const Value& config) const override {
    return describe_text(config);
  }
};

}  // namespace swage::mllama
