#pragma once
#include <memory>
#include <utility>

#include "swage/model.h"

namespace swage::nn {

// An embedding that does something before or behind another one: what that one holds is its own.
class EmbeddingAround : public Embedding {
 public:
  explicit EmbeddingAround(std::unique_ptr<Embedding> embedding)
      : embedding_(std::move(embedding)) {
    parameters_.swap(embedding_->parameters());
  }
  EmbeddingSites residual_sites() override { return embedding_->residual_sites(); }
  Linear* linear() override {
    parameters_.swap(embedding_->parameters());  // it takes the table out of them
    Linear* const linear = embedding_->linear();
    parameters_.swap(embedding_->parameters());
    return linear;
  }

 protected:
  const std::unique_ptr<Embedding> embedding_;
};

}  // namespace swage::nn
