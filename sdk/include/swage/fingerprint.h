#pragma once
// The ABI fingerprint: what must agree between host and plugin before C++ objects may cross. One
// string literal of "field=value" pairs, made of macros only, but for the digits of `layout`, which
// layout.h fills in; a plugin carries its own in an ELF note, so a host compares without running
// it.
//   swage, arch, stl, std, torch, absl, san, layout   must be equal
//   cxx, cuda                                         recorded and shown
#include <cstddef>

#include "absl/base/config.h"
#include "absl/base/options.h"

#ifndef SWAGE_TORCH_VERSION
#include <torch/headeronly/version.h>
#define SWAGE_TORCH_VERSION TORCH_VERSION
#endif
#ifndef SWAGE_CUDA_VERSION
#define SWAGE_CUDA_VERSION "none"
#endif
#ifndef SWAGE_INTERFACE_VERSION
#define SWAGE_INTERFACE_VERSION "1.1"  // SWAGE_ABI_MAJOR.SWAGE_ABI_MINOR
#endif

#define SWAGE_TEXT_INNER_(x) #x
#define SWAGE_TEXT_(x) SWAGE_TEXT_INNER_(x)

#if defined(__x86_64__)
#define SWAGE_ARCH_ "x86_64"
#elif defined(__aarch64__)
#define SWAGE_ARCH_ "aarch64"
#else
#error "swage knows no fingerprint for this architecture"
#endif

#ifdef _GLIBCXX_DEBUG
#define SWAGE_STL_DEBUG_ "1"
#else
#define SWAGE_STL_DEBUG_ "0"
#endif
#ifdef _LIBCPP_VERSION
#define SWAGE_STL_ "libc++/dbg=" SWAGE_STL_DEBUG_
#else
#define SWAGE_STL_ "libstdc++/cxx11=" SWAGE_TEXT_(_GLIBCXX_USE_CXX11_ABI) "/dbg=" SWAGE_STL_DEBUG_
#endif

#if __cplusplus == 201703L
#define SWAGE_STD_ "c++17"
#elif __cplusplus == 202002L
#define SWAGE_STD_ "c++20"
#else
#define SWAGE_STD_ SWAGE_TEXT_(__cplusplus)
#endif

// clang answers through __has_feature, gcc through macros.
#ifdef __has_feature
#define SWAGE_HAS_FEATURE_(x) __has_feature(x)
#else
#define SWAGE_HAS_FEATURE_(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || SWAGE_HAS_FEATURE_(address_sanitizer)
#define SWAGE_SANITIZER_ "asan"
#elif defined(__SANITIZE_THREAD__) || SWAGE_HAS_FEATURE_(thread_sanitizer)
#define SWAGE_SANITIZER_ "tsan"
#else
#define SWAGE_SANITIZER_ "none"
#endif

#ifdef ABSL_LTS_RELEASE_VERSION
#define SWAGE_ABSL_RELEASE_ SWAGE_TEXT_(ABSL_LTS_RELEASE_VERSION)
#else
#define SWAGE_ABSL_RELEASE_ "head"
#endif
#define SWAGE_ABSL_                                                                           \
  SWAGE_ABSL_RELEASE_                                                                         \
  "/" SWAGE_TEXT_(ABSL_OPTION_INLINE_NAMESPACE_NAME) "/" SWAGE_TEXT_(ABSL_OPTION_USE_STD_ANY) \
      SWAGE_TEXT_(ABSL_OPTION_USE_STD_OPTIONAL) SWAGE_TEXT_(ABSL_OPTION_USE_STD_STRING_VIEW)  \
          SWAGE_TEXT_(ABSL_OPTION_USE_STD_VARIANT)

#ifdef __clang__
#define SWAGE_COMPILER_ "clang-" SWAGE_TEXT_(__clang_major__) "." SWAGE_TEXT_(__clang_minor__)
#else
#define SWAGE_COMPILER_ "gcc-" SWAGE_TEXT_(__GNUC__) "." SWAGE_TEXT_(__GNUC_MINOR__)
#endif

// Of the translation unit that includes this header.
#define SWAGE_FINGERPRINT                                                                     \
  "swage=" SWAGE_INTERFACE_VERSION ";arch=" SWAGE_ARCH_ ";stl=" SWAGE_STL_ ";std=" SWAGE_STD_ \
  ";torch=" SWAGE_TORCH_VERSION ";absl=" SWAGE_ABSL_ ";san=" SWAGE_SANITIZER_                 \
  ";cxx=" SWAGE_COMPILER_ ";cuda=" SWAGE_CUDA_VERSION ";layout=0000000000000000"
