#include <cstdint>
#include <string_view>

#include "text/jinja/template.h"

// The input is a template, which sees a conversation with a tool.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  swage::text::jinja::Limits limits;
  limits.steps = 100'000;
  limits.value_bytes = size_t{8} << 20;
  limits.output_bytes = size_t{1} << 20;
  const auto parsed =
      swage::text::jinja::Template::parse({reinterpret_cast<const char*>(bytes), size}, limits);
  if (!parsed.ok()) return 0;
  swage::text::jinja::Variables variables;
  variables.json["messages"] = R"([{"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Grüße 🙂"}, {"type": "image"}]},
    {"role": "assistant", "content": null, "tool_calls": [
      {"type": "function", "function": {"name": "look", "arguments": {"at": 1.5, "to": null}}}]}])";
  variables.json["tools"] = R"([{"type": "function", "function": {"name": "look", "parameters":
    {"type": "object", "properties": {"at": {"type": "number"}}, "required": ["at"]}}}])";
  variables.json["add_generation_prompt"] = "true";
  variables.json["bos_token"] = R"("<s>")";
  std::tm now{};
  now.tm_mday = 1;
  (*parsed)->render(variables, now).status().IgnoreError();
  return 0;
}
