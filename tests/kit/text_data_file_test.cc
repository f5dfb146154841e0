// What files of text, chats and token ids are taken for, and what is refused in them.
#include <gmock/gmock.h>

#include "swage/text/calibration.h"
#include "swage/text/data_file.h"
#include "tests/kit/text_files.h"

namespace swage::text {
namespace {

using ::testing::HasSubstr;
using testing_text::write_temporary;
using namespace std::string_literals;

// The kind of the file, or what is wrong with it.
std::string kind(const std::string& name, const std::string& content) {
  const auto file = read_data_file(write_temporary(name, content));
  return file.ok() ? name_of(file->kind) : std::string(file.status().message());
}

TEST(TextDataFile, IsKnownByItsContentWhateverItsNameIs) {
  const std::string texts = "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n";
  for (const char* name : {"a.jsonl", "a.JSONL", "a.ndjson", "a", "a.txt", "a.json", "a.dat"})
    EXPECT_EQ(kind(name, texts), "texts") << name;
  EXPECT_EQ(kind("c.ndjson", R"({"messages": [{"role": "user", "content": "a"}]})"), "chats");
  EXPECT_EQ(kind("i.jsonl", "{\"input_ids\": [1, 2]}\n{\"input_ids\": [3]}\n"), "token ids");
  EXPECT_EQ(kind("i", R"({"input_ids": [[1, 2]]})"), "token ids");
  EXPECT_EQ(kind("p.json", "{\n  \"input_ids\": [\n [1,\n 2]]\n}\n"), "token ids");
  EXPECT_EQ(kind("t", "\x10\0\0\0\0\0\0\0{\"a\": {}}       data"s), "tensors");
  for (const char* name : {"w.txt", "w.test.tokens", "w", "w.md"})
    EXPECT_EQ(kind(name, "{ braces begin\nthis text }\n"), "text") << name;
  EXPECT_EQ(kind("l.txt", "[1] a list of sources\n[2] another\n"), "text");
}

TEST(TextDataFile, SaysWhereTheNameMisleadsAndWhereAMarkIsLeftOut) {
  const auto lines =
      read_data_file(write_temporary("r.txt", "{\"text\": \"a\"}\n{\"text\": \"b\"}"));
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_EQ(lines->remarks.size(), 1u);
  EXPECT_THAT(lines->remarks[0], HasSubstr("holds JSON Lines and is read as such"));
  const auto marked = read_data_file(write_temporary("m.txt", "\xEF\xBB\xBFwords"));
  ASSERT_TRUE(marked.ok()) << marked.status();
  EXPECT_EQ(marked->content, "words");
  EXPECT_THAT(marked->remarks[0], HasSubstr("byte order mark"));
}

TEST(TextDataFile, OfAnotherFormatIsRefusedWithAWayOut) {
  EXPECT_THAT(kind("a.txt", "\x1F\x8B\x08\0abc"s), HasSubstr("packed by gzip"));
  EXPECT_THAT(kind("a.jsonl.zst",
                   "\x28\xB5\x2F\xFD"
                   "abc"),
              HasSubstr("zstd -d"));
  EXPECT_THAT(kind("a.parquet", "PAR1\x15\x04\0\0PAR1"s), HasSubstr("pandas.read_parquet"));
  EXPECT_THAT(kind("a", "ARROW1\0\0\xFF\xFF"s), HasSubstr("is an Arrow file"));
  EXPECT_THAT(kind("a.arrow", "\xFF\xFF\xFF\xFF\0\0"s), HasSubstr("Dataset.from_file"));
  EXPECT_THAT(kind("a.npy", "\x93NUMPY\x01\0"s), HasSubstr("array of NumPy"));
  EXPECT_THAT(kind("a.txt",
                   "\xFF\xFE"
                   "a\0b\0"s),
              HasSubstr("iconv -f UTF-16"));
  EXPECT_THAT(kind("a.txt", "a\0b\0"s), HasSubstr("is 0, so this is no text"));
  EXPECT_THAT(kind("a.csv", "text,label\nwords,1\n"), HasSubstr("pandas.read_csv"));
  EXPECT_THAT(kind("a.yaml", "text: words\n"), HasSubstr("files that end in .yaml are not read"));
  EXPECT_THAT(kind("a.gz", "plain words"), HasSubstr("but it holds plain text"));
  EXPECT_THAT(kind("a.json", "[{\"text\": \"a\"}]"), HasSubstr("jq -c '.[]'"));
  EXPECT_THAT(kind("a", "{\"text\": \"a\"}\nwords\n"), HasSubstr("of its first 2 lines 1"));
  EXPECT_THAT(kind("a.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(read_data_file("/tmp").status().message(), HasSubstr("is a folder"));
  EXPECT_THAT(read_data_file("/dev/null").status().message(), HasSubstr("no regular file"));
}

std::string refusal(const std::string& line) {
  const auto read = read_data_line(line);
  return read.ok() ? "none" : std::string(read.status().message());
}

std::string chat(const std::string& part) {
  return R"({"messages": [{"role": "user", "content": [)" + part + "]}]}";
}

TEST(TextDataLine, NamesPicturesOfEveryFormThatIsUnderstood) {
  const std::string wanted = R"({"type":"image","image":"a.jpg"})";
  for (const char* part :
       {R"({"type": "image", "image": "a.jpg"})", R"({"type": "image_url", "image_url": "a.jpg"})",
        R"({"type": "image_url", "image_url": {"url": "a.jpg"}})"}) {
    const auto line = read_data_line(chat(part));
    ASSERT_TRUE(line.ok()) << line.status();
    EXPECT_EQ(line->pictures, std::vector<std::string>{"a.jpg"});
    EXPECT_THAT(line->messages, HasSubstr(wanted));
  }
}

TEST(TextDataLine, RefusesPartsThatWouldBeLost) {
  for (const char* part :
       {R"({"type": "video", "video": "a.mp4"})", R"({"type": "audio", "audio": "a.wav"})",
        R"({"image": "a.jpg"})", R"({"text": "a"})", R"("words")", R"({"type": "new", "new": 1})"})
    EXPECT_THAT(refusal(chat(part)),
                AllOf(HasSubstr("messages[0].content[0]: a "), HasSubstr("is not understood")))
        << part;
  EXPECT_THAT(refusal(chat(R"({"type": "image"})")), HasSubstr("a picture without its file"));
  EXPECT_THAT(refusal(chat(R"({"type": "text", "text": "a", "image": "b"})")),
              HasSubstr("\"image\" is not understood here and would be lost"));
}

TEST(TextDataLine, RefusesKeysBesideThatCarryContent) {
  const std::string turns = R"("conversations": [{"from": "human", "value": "a"}])";
  EXPECT_THAT(refusal("{\"image\": \"a.jpg\", " + turns + "}"), HasSubstr("\"image\" is not"));
  EXPECT_THAT(refusal("{\"system\": \"be kind\", " + turns + "}"), HasSubstr("\"system\" is not"));
  EXPECT_EQ(
      refusal("{\"id\": \"x1\", \"score\": 3, \"video\": null, \"images\": [], " + turns + "}"),
      "none");
  EXPECT_EQ(refusal(R"({"prompt": "a", "messages": [{"role": "user", "content": "a"}]})"), "none");
  EXPECT_THAT(refusal(R"({"messages": [{"role": "user", "content": "a", "images": ["b.png"]}]})"),
              HasSubstr("messages[0]: \"images\" is not understood"));
  EXPECT_EQ(refusal(R"({"text": "a", "url": "b", "timestamp": "c"})"), "none");
  EXPECT_THAT(refusal(R"({"text": "a", "video": "b"})"), HasSubstr("\"video\" beside \"text\""));
  EXPECT_EQ(refusal(R"({"prompt": "abc"})"),
            "there is no \"text\" among the keys prompt; expected {\"text\": \"…\"}, "
            "{\"messages\": […]} or {\"conversations\": […]}");
}

std::string drawn(const std::string& content) {
  CalibrationRequest request;
  request.source = write_temporary("masked.json", content);
  request.recipe = "whole";
  const auto set = draw_calibration(request, nullptr, 100);
  if (!set.ok()) return std::string(set.status().message()).substr(request.source.size());
  std::string text;
  for (const auto& sequence : set->sequences) {
    for (const int64_t id : sequence) text += std::to_string(id) + " ";
    text += "| ";
  }
  return text;
}

TEST(TextTokenIds, ComeWithoutThePaddingThatAMaskHides) {
  EXPECT_EQ(drawn(R"({"input_ids": [[7, 8, 0, 0], [0, 5, 6, 9]],
                      "attention_mask": [[1, 1, 0, 0], [0, 1, 1, 1]]})"),
            "7 8 | 5 6 9 | ");
  EXPECT_EQ(drawn("{\"input_ids\": [7, 0], \"attention_mask\": [true, false]}\n"
                  "{\"input_ids\": [8, 9], \"attention_mask\": [1, 1], \"labels\": [-100, 9]}\n"),
            "7 | 8 9 | ");
  EXPECT_EQ(drawn(R"({"input_ids": [[7, 8]], "position_ids": [[0, 1]], "note": "x"})"), "7 8 | ");
}

TEST(TextTokenIds, WithKeysThatChangeMoreAreRefusedByName) {
  EXPECT_THAT(drawn(R"({"input_ids": [[7, 8, 9]], "attention_mask": [[1, 0, 1]]})"),
              HasSubstr("sequence 0: \"attention_mask\" hides token 1 between others"));
  EXPECT_THAT(drawn(R"({"input_ids": [[7, 8]], "attention_mask": [[0, 0]]})"),
              HasSubstr("hides every token"));
  EXPECT_THAT(drawn(R"({"input_ids": [[7, 8]], "attention_mask": [[1]]})"),
              HasSubstr("has 1 values for 2 tokens"));
  EXPECT_THAT(drawn(R"({"input_ids": [[7, 8]], "position_ids": [[5, 6]]})"),
              HasSubstr("\"position_ids\" holds 5 for token 0, expected 0"));
  EXPECT_THAT(drawn(R"({"input_ids": [[7, 8]], "token_type_ids": [[0, 1]]})"),
              HasSubstr("\"token_type_ids\" holds 1"));
  EXPECT_THAT(drawn(R"({"input_ids": [[7, 8]], "pixel_values": [[1.5, 2]]})"),
              HasSubstr("\"pixel_values\" beside input_ids is not understood"));
}

}  // namespace
}  // namespace swage::text
