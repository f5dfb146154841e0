#pragma once
// XXH3 with the widest vectors that the processor has, where the library brings such versions of
// it: its digests are the same on all of them.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif
