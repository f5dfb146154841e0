#pragma once
#include <optional>

#include "added_tokens.h"
#include "post_processor.h"
#include "swage/value.h"

// What tokenizer_config.json changes in what tokenizer.json says.
namespace swage::text {

// Adds tokens of "added_tokens_decoder", and the named special tokens, that tokenizer.json lacks.
// Those without an id get the one the model's vocabulary gives them, else the next free one.
absl::Status add_configured_tokens(const Value& config, const Vocabulary& model,
                                   AddedTokens* added);

// The BOS and EOS that the tokenizer's class adds itself; none when tokenizer.json's post-processor
// stands.
absl::StatusOr<std::optional<PostProcessor>> configured_post_processor(const Value& config,
                                                                       bool file_has_one,
                                                                       const Vocabulary& model,
                                                                       const AddedTokens& added);

// clean_up_tokenization_spaces: takes spaces away before punctuation and contractions.
void clean_up_spaces(std::string* text);

}  // namespace swage::text
