// Number formats of plugins: what the command answers where one goes wrong.
#include "swage/codec.h"

#include <gmock/gmock.h>

#include "tests/abi/support.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Words = std::vector<std::string>;

class ForeignCodec : public CommandTest {
 protected:
  static std::string pipeline(const std::string& fault, const std::string& step) {
    std::ostringstream text;
    text << "[model]\npath = \"model\"\n[calibration]\nsource = " << data("calibration.txt")
         << "\nsamples = 3\nlength = 24\n[[step]]\nuse = \"" << step
         << "\"\nweight = { format = \"faulty-codec\", fault = \"" << fault
         << "\" }\n[[export]]\nuse = \"huggingface\"\npath = \"dense\"\ndtype = \"fp32\"\n"
         << "[run]\nwork = \"work\"\n";
    return text.str();
  }
  static void clean() {
    fs::remove_all("work");
    fs::remove_all("dense");
  }
  Answer run(const std::string& fault, const std::string& step) {
    clean();
    std::ofstream("pipeline.toml") << pipeline(fault, step);
    return swage({"--plugin-path", folder("abi_faults"), "run", "pipeline.toml"});
  }
  // In this process, as the command's outermost call does it.
  Answer run_here(const std::string& fault, const std::string& step) {
    clean();
    const absl::Status status = guarded(
        {}, [&] { return RunTest::run(pipeline(fault, step), {}, {folder("abi_faults")}); });
    return {exit_code(status), "", std::string(status.message())};
  }
  // The format, its plugin and the call are named, and the fault is the plugin's.
  static void expect_fault(const Answer& answer, const Words& words) {
    EXPECT_EQ(answer.code, static_cast<int>(ExitCode::kPlugin)) << answer.err;
    EXPECT_THAT(answer.err,
                AllOf(HasSubstr("format \"faulty-codec\": "),
                      HasSubstr("plugin org.example.faults 3.2.1, " + file("abi_faults"))));
    for (const std::string& word : words) EXPECT_THAT(answer.err, HasSubstr(word));
  }
  void expect(const std::string& fault, const Words& words, const std::string& step = "rtn") {
    SCOPED_TRACE(fault);
    expect_fault(run_here(fault, step), words);
    EXPECT_FALSE(fs::exists("dense"));
  }
};

TEST_F(ForeignCodec, IsTakenByEveryStepWhereItBehaves) {
  for (const char* step : {"rtn", "gptq"}) {
    const Answer answer = run_here("", step);
    EXPECT_EQ(answer.code, 0) << answer.err;
    EXPECT_TRUE(fs::exists("dense/model.safetensors"));
  }
}

TEST_F(ForeignCodec, WhatItThrowsIsAnErrorThatNamesFormatAndCall) {
  expect("fit:throw", {"rtn: block 0: attention.input: ", "fit: exception: thrown\\nerror"});
  expect("fit:int", {"fit: an exception that is no std::exception"});
  expect("level:throw", {"fit: exception: thrown"});
  for (const char* call : {"encode", "decode", "form", "code_bits"})
    expect(std::string(call) + ":throw", {std::string(call) + ": exception: thrown\\nerror"});
  expect("validate:throw", {"encode: exception: thrown"});
  expect("grid:throw", {"gptq: block 0: attention.input: ", "fit: exception: thrown"}, "gptq");
  expect("block:throw", {"round_block: exception: thrown"}, "gptq");
}

TEST_F(ForeignCodec, IsNamedWhereItEndsTheProcess) {
  for (const char* fault : {"fit:exit", "decode:segv", "encode:abort", "level:thread-exit"}) {
    SCOPED_TRACE(fault);
    const Answer answer = run(fault, "rtn");
    const std::string call = fault;
    const std::string phase = call.substr(0, 5) == "level" ? "fit" : call.substr(0, call.find(':'));
    expect_fault(answer, {phase, "error: format \"faulty-codec\": " + phase});
  }
}

TEST_F(ForeignCodec, ARefusalIsTheUsersAndNoFault) {
  const Answer answer = run_here("fit:refuses", "rtn");
  EXPECT_NE(answer.code, static_cast<int>(ExitCode::kPlugin)) << answer.err;
  EXPECT_THAT(answer.err, AllOf(HasSubstr("format \"faulty-codec\": fit: no such weight"),
                                Not(HasSubstr("plugin org.example.faults"))));
}

TEST_F(ForeignCodec, AnswersAreHeldAgainstWhatWasAsked) {
  expect("undefined level", {"fit: leaves its part \"scales\" undefined"});
  expect("undefined codes", {"encode: leaves its part \"codes\" undefined"});
  expect("short decoded", {"decode: gives Float [1, 64], expected Float [64, 64]"});
  expect("double decoded", {"decode: gives Double [64, 64], expected Float [64, 64]"});
  expect("no decoded", {"decode: gives an undefined tensor"});
  expect("nan decoded", {"decode: gives values that are not finite"});
  expect("no form", {"form: gives an empty text"});
  expect("negative bits", {"code_bits: gives -4, expected 0 or more"});
  expect("no width", {"group_width: gives 0, expected 1 or more"});
  expect("short scales", {"fit: gives levels as Float [64, 1], expected Float [64, 2]"});
  expect("nan scales", {"fit: gives levels that are not finite"});
  expect("short grid", {"fit: gives levels as Float [1, 2], expected Float [64, 2]"}, "gptq");
  expect("no table", {"fit: gives no table of values"}, "gptq");
  expect("block", {"round_block: gives Float [1, 8], expected Float [64, 8]"}, "gptq");
}

TEST_F(ForeignCodec, PartsThatItsOwnCheckRefusesAreNeverEmitted) {
  const std::string refused = "encode: gives parts that its own check refuses: ";
  expect("another part", {refused, "shifts"});
  expect("short codes", {refused + "codes is [1, 64], expected [64, 64]"});
}

}  // namespace
}  // namespace swage::testing_support
