#pragma once
#include <string_view>

namespace swage {

// What an exporter answers query(kTiedEnds) with (anything but null) where its readers take one
// compressed matrix for both ends of a model whose head is tied to the embedding. Such an exporter
// is given the embedding alone, and config.json stays tied. Any other one is given the head's
// matrix, too: the same result under the head's name, and a config.json that is not tied.
inline constexpr std::string_view kTiedEnds = "tied-ends/1";

}  // namespace swage
