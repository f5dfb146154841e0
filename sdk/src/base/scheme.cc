#include "swage/scheme.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

template <class E>
using Names = std::initializer_list<std::pair<const char*, E>>;

constexpr Names<NumberFormat> kFormats = {{"int", NumberFormat::kInt},
                                          {"fp8-e4m3", NumberFormat::kFp8E4M3},
                                          {"fp8-e5m2", NumberFormat::kFp8E5M2},
                                          {"dense", NumberFormat::kDense}};
constexpr Names<Granularity> kWeightGranularities = {{"tensor", Granularity::kTensor},
                                                     {"channel", Granularity::kChannel},
                                                     {"group", Granularity::kGroup}};
constexpr Names<Granularity> kActivationGranularities = {{"tensor", Granularity::kTensor},
                                                         {"token", Granularity::kToken}};
constexpr Names<RangeRule> kRanges = {{"minmax", RangeRule::kMinmax}, {"mse", RangeRule::kMse}};
constexpr Names<Convention> kConventions = {{"minmax", Convention::kMinmax},
                                            {"gptq", Convention::kGptq},
                                            {"full-range", Convention::kFullRange},
                                            {"llmc", Convention::kLlmc}};
constexpr Names<ScaleType> kScaleTypes = {{"auto", ScaleType::kAuto},
                                          {"checkpoint", ScaleType::kCheckpoint},
                                          {"bf16", ScaleType::kBf16},
                                          {"fp16", ScaleType::kFp16},
                                          {"fp32", ScaleType::kFp32}};
constexpr Names<bool> kTails = {{"error", false}, {"short", true}};

std::string a_type(const Value& value) {
  return absl::StrCat(value.integer() != nullptr ? "an " : "a ", value.type_name());
}

template <class E>
const char* name_of(const Names<E>& names, E value) {
  for (const auto& [name, candidate] : names) {
    if (candidate == value) return name;
  }
  return "?";
}

absl::Status bad(std::string_view key, std::string_view found, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", std::string(key), "\" is ", std::string(found), "; expected ", std::string(expected)));
}

// Reads members of one table; the first error stays.
class Reader {
 public:
  Reader(const Value& table, const std::vector<std::string>& known) : table_(table) {
    if (table.is_null()) return;
    if (table.table() == nullptr) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat("a scheme is a table such as { bits = 4 }, found ", a_type(table)));
      return;
    }
    for (const auto& [key, value] : *table.table()) {
      const bool found = std::find(known.begin(), known.end(), key) != known.end();
      if (!found)
        fail(absl::InvalidArgumentError(
            absl::StrCat("\"", key, "\" is no key of a scheme", suggestion(key, known))));
    }
  }

  bool has(std::string_view key) const { return table_.has(key); }
  const absl::Status& status() const { return status_; }
  void fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  template <class E>
  void choice(std::string_view key, const Names<E>& names, E* out) {
    if (!has(key)) return;
    const std::string* text = table_[key].text();
    std::vector<std::string> known;
    for (const auto& [name, value] : names) {
      if (text != nullptr && *text == name) {
        *out = value;
        return;
      }
      known.push_back(absl::StrCat("\"", name, "\""));
    }
    fail(bad(key, text != nullptr ? absl::StrCat("\"", *text, "\"") : a_type(table_[key]),
             absl::StrJoin(known, ", ")));
  }

  void flag(std::string_view key, bool* out) {
    if (!has(key)) return;
    if (const bool* value = table_[key].boolean())
      *out = *value;
    else
      fail(bad(key, a_type(table_[key]), "true or false"));
  }

  template <class T>
  void integer(std::string_view key, int64_t low, int64_t high, std::string_view expected, T* out) {
    if (!has(key)) return;
    const int64_t* value = table_[key].integer();
    if (value == nullptr) return fail(bad(key, a_type(table_[key]), expected));
    if (*value < low || *value > high) return fail(bad(key, absl::StrCat(*value), expected));
    *out = static_cast<T>(*value);
  }

 private:
  const Value& table_;
  absl::Status status_;
};

bool is_fp8(NumberFormat format) {
  return format == NumberFormat::kFp8E4M3 || format == NumberFormat::kFp8E5M2;
}

absl::Status conflict(std::string_view text) {
  return absl::InvalidArgumentError(std::string(text));
}

// What a format fixes: fp8 has 8 bits and no zero point. Values that come from `base` give way,
// stated ones conflict.
template <class Scheme>
void settle_format(Reader& reader, Scheme* scheme) {
  if (!is_fp8(scheme->format)) return;
  const char* name = name_of(kFormats, scheme->format);
  if (reader.has("bits") && scheme->bits != 8) {
    reader.fail(
        bad("bits", absl::StrCat(scheme->bits), absl::StrCat("8 with format = \"", name, "\"")));
  }
  if (reader.has("symmetric") && !scheme->symmetric) {
    reader.fail(conflict(
        absl::StrCat("format = \"", name, "\" has no zero point: symmetric = false cannot hold")));
  }
  scheme->bits = 8;
  scheme->symmetric = true;
}

void settle_granularity(Reader& reader, WeightScheme* scheme) {
  if (reader.has("group") && !reader.has("granularity")) scheme->granularity = Granularity::kGroup;
  const bool grouped = scheme->granularity == Granularity::kGroup;
  const char* granularity = name_of(kWeightGranularities, scheme->granularity);
  if (reader.has("group") && !grouped) {
    reader.fail(conflict(
        absl::StrCat("\"group\" needs granularity = \"group\", found \"", granularity, "\"")));
  }
  if (reader.has("group_tail") && !grouped) {
    reader.fail(conflict(
        absl::StrCat("\"group_tail\" needs granularity = \"group\", found \"", granularity, "\"")));
  }
  if (!is_fp8(scheme->format) || !grouped) return;
  if (reader.has("group") || reader.has("granularity")) {
    reader.fail(
        conflict(absl::StrCat("format = \"", name_of(kFormats, scheme->format),
                              "\" takes one scale per \"channel\" or \"tensor\", not per group")));
  }
  scheme->granularity = Granularity::kChannel;
}

void settle_convention(Reader& reader, WeightScheme* scheme) {
  const bool integer = scheme->format == NumberFormat::kInt;
  if (!integer && reader.has("convention")) {
    reader.fail(conflict(absl::StrCat("\"convention\" is about integers, but format is \"",
                                      name_of(kFormats, scheme->format), "\"")));
  }
  if (!integer) scheme->convention = Convention::kMinmax;
  if (scheme->convention != Convention::kFullRange || scheme->symmetric) return;
  reader.fail(
      conflict("convention = \"full-range\" is symmetric; with symmetric = false use \"minmax\", "
               "\"gptq\" or \"llmc\""));
}

}  // namespace

int64_t WeightScheme::group_count(int64_t in) const {
  if (granularity != Granularity::kGroup) return 1;
  return (in + group_size - 1) / group_size;
}

int64_t WeightScheme::group_width(int64_t in) const {
  return granularity == Granularity::kGroup ? group_size : in;
}

SWAGE_API bool operator==(const WeightScheme& a, const WeightScheme& b) {
  const bool same_groups =
      a.granularity == b.granularity &&
      (a.granularity != Granularity::kGroup ||
       (a.group_size == b.group_size && a.group_tail_short == b.group_tail_short));
  return same_groups && a.format == b.format && a.bits == b.bits && a.symmetric == b.symmetric &&
         a.range == b.range && a.convention == b.convention && a.scale_type == b.scale_type;
}

SWAGE_API bool operator==(const ActivationScheme& a, const ActivationScheme& b) {
  return a.format == b.format && a.bits == b.bits && a.granularity == b.granularity &&
         a.symmetric == b.symmetric && a.dynamic == b.dynamic;
}

absl::StatusOr<WeightScheme> parse_weight_scheme(const Value& table, const WeightScheme& base) {
  WeightScheme scheme = base;
  Reader reader(table, {"format", "bits", "granularity", "group", "group_tail", "symmetric",
                        "range", "convention", "scale_dtype"});
  reader.choice("format", kFormats, &scheme.format);
  reader.integer("bits", 2, 8, "2 to 8", &scheme.bits);
  reader.choice("granularity", kWeightGranularities, &scheme.granularity);
  reader.integer("group", 1, int64_t{1} << 30,
                 "the number of columns that share a scale, for example 64 or 128",
                 &scheme.group_size);
  reader.choice("group_tail", kTails, &scheme.group_tail_short);
  reader.flag("symmetric", &scheme.symmetric);
  reader.choice("range", kRanges, &scheme.range);
  reader.choice("convention", kConventions, &scheme.convention);
  reader.choice("scale_dtype", kScaleTypes, &scheme.scale_type);
  settle_format(reader, &scheme);
  settle_granularity(reader, &scheme);
  settle_convention(reader, &scheme);
  if (!reader.status().ok()) return reader.status();
  return scheme;
}

absl::StatusOr<ActivationScheme> parse_activation_scheme(const Value& table,
                                                         const ActivationScheme& base) {
  ActivationScheme scheme = base;
  Reader reader(table, {"format", "bits", "granularity", "symmetric", "dynamic"});
  reader.choice("format", kFormats, &scheme.format);
  reader.integer("bits", 2, 8, "2 to 8", &scheme.bits);
  reader.choice("granularity", kActivationGranularities, &scheme.granularity);
  reader.flag("symmetric", &scheme.symmetric);
  reader.flag("dynamic", &scheme.dynamic);
  settle_format(reader, &scheme);
  if (scheme.format == NumberFormat::kDense) {
    reader.fail(bad(
        "format", "\"dense\"",
        "\"int\", \"fp8-e4m3\", \"fp8-e5m2\"; leave the table out to keep activations in floats"));
  }
  if (!scheme.dynamic && scheme.granularity == Granularity::kToken) {
    reader.fail(
        conflict("a static scale per token cannot exist; with dynamic = false write granularity = "
                 "\"tensor\""));
  }
  if (!reader.status().ok()) return reader.status();
  return scheme;
}

Value to_value(const WeightScheme& scheme) {
  Value::Table table = {{"format", name_of(kFormats, scheme.format)},
                        {"bits", scheme.bits},
                        {"granularity", name_of(kWeightGranularities, scheme.granularity)},
                        {"symmetric", scheme.symmetric},
                        {"range", name_of(kRanges, scheme.range)},
                        {"scale_dtype", name_of(kScaleTypes, scheme.scale_type)}};
  if (scheme.format == NumberFormat::kInt)
    table["convention"] = name_of(kConventions, scheme.convention);
  if (scheme.granularity == Granularity::kGroup) {
    table["group"] = scheme.group_size;
    table["group_tail"] = name_of(kTails, scheme.group_tail_short);
  }
  return Value(std::move(table));
}

Value to_value(const ActivationScheme& scheme) {
  return Value(Value::Table{{"format", name_of(kFormats, scheme.format)},
                            {"bits", scheme.bits},
                            {"granularity", name_of(kActivationGranularities, scheme.granularity)},
                            {"symmetric", scheme.symmetric},
                            {"dynamic", scheme.dynamic}});
}

std::string describe(const WeightScheme& scheme) {
  if (scheme.format == NumberFormat::kDense) return "floats";
  std::string text =
      is_fp8(scheme.format) ? name_of(kFormats, scheme.format) : absl::StrCat("w", scheme.bits);
  switch (scheme.granularity) {
    case Granularity::kGroup:
      absl::StrAppend(&text, " g", scheme.group_size);
      break;
    case Granularity::kTensor:
      absl::StrAppend(&text, " per tensor");
      break;
    default:
      absl::StrAppend(&text, " per channel");
      break;
  }
  return is_fp8(scheme.format)
             ? text
             : absl::StrCat(text, scheme.symmetric ? " symmetric" : " asymmetric");
}

std::string describe(const ActivationScheme& scheme) {
  std::string text = is_fp8(scheme.format) ? absl::StrCat("a-", name_of(kFormats, scheme.format))
                                           : absl::StrCat("a", scheme.bits);
  absl::StrAppend(&text, scheme.granularity == Granularity::kToken ? " per token" : " per tensor");
  if (!scheme.symmetric) absl::StrAppend(&text, " asymmetric");
  if (!scheme.dynamic) absl::StrAppend(&text, " static");
  return text;
}

}  // namespace swage
