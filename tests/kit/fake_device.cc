#include "tests/kit/fake_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace swage::test {
namespace {

constexpr auto kFake = c10::DeviceType::PrivateUse1;
const c10::Device kDevice(kFake, 0);

// One piece of memory, readable only while an operator of the device runs.
class Memory final : public c10::Allocator {
 public:
  static Memory& get() {
    static auto* const memory = new Memory;
    return *memory;
  }

  c10::DataPtr allocate(size_t size) override {
    const std::lock_guard lock(mutex_);
    const size_t padded =
        std::max<size_t>(size + kAlignment - 1, kAlignment) / kAlignment * kAlignment;
    std::vector<char*>& idle = idle_[padded];
    char* place = base_ + used_;
    if (!idle.empty()) {
      place = idle.back();
      idle.pop_back();
    } else {
      TORCH_CHECK(used_ + padded <= kSize, "the fake device is out of memory");
      used_ += padded;
      if (open_ > 0) protect(PROT_READ | PROT_WRITE, used_);
    }
    sizes_[place] = padded;
    return {place, place, &release, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t size) const override;

  // While one of these lives, memory is open.
  class Access {
   public:
    Access() { get().change(1); }
    ~Access() { get().change(-1); }
  };

 private:
  static constexpr size_t kSize = size_t{1} << 36, kAlignment = 64, kPage = 4096;

  Memory() {
    void* const place =
        mmap(nullptr, kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(place != MAP_FAILED, "no room for the fake device's memory");
    base_ = static_cast<char*>(place);
  }

  static void release(void* place) {
    Memory& memory = get();
    const std::lock_guard lock(memory.mutex_);
    const auto found = memory.sizes_.find(static_cast<char*>(place));
    memory.idle_[found->second].push_back(found->first);
    memory.sizes_.erase(found);
  }

  void change(int by) {
    const std::lock_guard lock(mutex_);
    const int before = open_;
    open_ += by;
    if (before == 0) protect(PROT_READ | PROT_WRITE, used_);
    if (open_ == 0) protect(PROT_NONE, opened_);
  }

  void protect(int rights, size_t size) {
    size = (size + kPage - 1) / kPage * kPage;
    if (size > 0) TORCH_CHECK(mprotect(base_, size, rights) == 0, "mprotect failed");
    opened_ = rights == PROT_NONE ? 0 : std::max(opened_, size);
  }

  std::mutex mutex_;
  char* base_ = nullptr;
  size_t used_ = 0, opened_ = 0;
  std::map<char*, size_t> sizes_;              // of what is in use
  std::map<size_t, std::vector<char*>> idle_;  // what was given back, by size
  int open_ = 0;
};

void Memory::copy_data(void* to, const void* from, size_t size) const {
  const Access access;
  std::memcpy(to, from, size);
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kFake; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
  c10::Stream exchangeStream(c10::Stream) const override { return getStream(kDevice); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};

bool is_fake(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == kFake;
}

at::Tensor with_geometry(c10::Storage storage, c10::DispatchKey key, const at::Tensor& like) {
  at::Tensor result = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(key), like.dtype());
  auto* const impl = result.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  if (like.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return result;
}

// The same memory as a tensor of the CPU.
at::Tensor on_host(const at::Tensor& tensor) {
  if (!is_fake(tensor)) return tensor;
  void* const data = const_cast<void*>(tensor.storage().data());
  return with_geometry(c10::Storage(c10::Storage::use_byte_size_t(), tensor.storage().nbytes(),
                                    c10::DataPtr(data, c10::kCPU), c10::GetCPUAllocator(),
                                    /*resizable=*/true),
                       c10::DispatchKey::CPU, tensor);
}

at::Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides,
                         std::optional<at::ScalarType> type, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &Memory::get(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type.value_or(at::kFloat));
}

at::Tensor empty(c10::IntArrayRef sizes, std::optional<at::ScalarType> type,
                 std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &Memory::get(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::kFloat), format);
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  const Memory::Access access;
  on_host(to).copy_(on_host(from));
  return to;
}

// One call of an operator: its tensors as those of the CPU, what it returns on the device.
class Call {
 public:
  Call(const c10::OperatorHandle& op, torch::jit::Stack* stack)
      : op_(op),
        stack_(*stack),
        first_(stack->size() - op.schema().arguments().size()),
        given_(stack->begin() + static_cast<int64_t>(first_), stack->end()) {}

  void run() {
    for (size_t i = first_; i < stack_.size(); ++i) stack_[i] = argument(stack_[i]);
    {
      const Memory::Access access;
      op_.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack_);
    }
    adopt_sizes();
    const auto& returns = op_.schema().returns();
    const size_t first = stack_.size() - returns.size();
    for (size_t i = 0; i < returns.size(); ++i)
      stack_[first + i] = returned(returns[i], stack_[first + i]);
  }

 private:
  at::Tensor converted(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    TORCH_CHECK(is_fake(tensor) || tensor.dim() == 0, op_.schema().name(),
                ": a tensor of the CPU among those of the device");
    const at::Tensor host = on_host(tensor);
    pairs_.emplace_back(tensor, host);
    return host;
  }

  c10::IValue argument(const c10::IValue& value) {
    if (value.isTensor()) return converted(value.toTensor());
    if (value.isDevice() && value.toDevice().type() == kFake) return c10::Device(c10::kCPU);
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& one : value.toTensorVector()) list.push_back(converted(one));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& one : value.toOptionalTensorVector())
        list.push_back(one ? std::optional<at::Tensor>(converted(*one)) : one);
      return list;
    }
    return value;
  }

  // Results that an operator has resized: new memory, as a device would take.
  void adopt_sizes() const {
    for (const auto& [device, host] : pairs_) {
      if (device.sizes() == host.sizes() || !is_fake(device)) continue;
      const at::Tensor grown =
          empty_strided(host.sizes(), host.strides(), host.scalar_type(), {}, {}, {});
      copy_from(host, grown, false);
      auto* const impl = device.unsafeGetTensorImpl();
      impl->set_storage_keep_dtype(grown.storage());
      impl->set_sizes_and_strides(grown.sizes(), grown.strides(), 0);
    }
  }

  // A view of an argument, or a copy of what is new.
  at::Tensor on_device(const at::Tensor& host) const {
    if (!host.defined() || is_fake(host)) return host;
    for (const auto& [device, argument] : pairs_) {
      if (host.storage().data() == argument.storage().data() && is_fake(device) &&
          host.storage().nbytes() == device.storage().nbytes() && host.numel() > 0)
        return with_geometry(device.storage(), c10::DispatchKey::PrivateUse1, host);
    }
    at::Tensor result = empty_strided(host.sizes(), host.strides(), host.scalar_type(), {}, {}, {});
    copy_from(host, result, false);
    return result;
  }

  c10::IValue returned(const c10::Argument& declared, const c10::IValue& value) const {
    if (value.isTensor() && declared.alias_info() && declared.alias_info()->isWrite()) {
      const auto& arguments = op_.schema().arguments();
      for (size_t i = 0; i < arguments.size(); ++i) {
        const auto* const alias = arguments[i].alias_info();
        if (alias && alias->isWrite() && alias->beforeSets() == declared.alias_info()->beforeSets())
          return given_[i];
      }
    }
    if (value.isTensor()) return on_device(value.toTensor());
    if (!value.isTensorList()) return value;
    c10::List<at::Tensor> list;
    for (const at::Tensor& one : value.toTensorVector()) list.push_back(on_device(one));
    return list;
  }

  const c10::OperatorHandle& op_;
  torch::jit::Stack& stack_;
  const size_t first_;
  const std::vector<c10::IValue> given_;
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;  // on the device, on the host
};

void any_operator(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Call(op, stack).run();
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&any_operator>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

}  // namespace

c10::Device fake_device() {
  static const bool registered = [] {
    c10::SetAllocator(kFake, &Memory::get());
    if (!at::isPrivateUse1HooksRegistered()) at::RegisterPrivateUse1HooksInterface(new Hooks);
    return true;
  }();
  return registered ? kDevice : c10::Device(c10::kCPU);
}

}  // namespace swage::test
