#pragma once
#include <c10/core/Device.h>

// A device without a GPU: LibTorch's PrivateUse1 backend on ordinary memory that nobody but its own
// operators can read or write. A host pointer into it, a forgotten .to(), a tensor made on the
// wrong device end in a crash or an error, as they would on a real device; what remains runs and
// has the values of the CPU, whose kernels do the work.
namespace swage::test {

// Registered when first asked for, for the rest of the process.
c10::Device fake_device();

}  // namespace swage::test
