// A packed student as a fuzzer sees it: lines of text that say what Python hands to the engine.
//
//   b NAME 0|1    i NAME NUMBER    f NAME NUMBER    w NAME WORD    l NAME NUMBER ...    settings
//   m NAME STEPS CODE 0|1                                           how an input is coded
//   t NAME DTYPE SIZE ...                                           a tensor
//   = BYTES                                                         what tensors hold, again and again
//
// Python hands over arrays that are as long as their shape says, and so does this: each lies at the
// end of memory of its own, where a read behind it is seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config.h"
#include "engine/tensors.h"

namespace goose::fuzz {

constexpr std::int64_t kMostBytes = 1 << 20;  // of all tensors together

struct Described {
  engine::Settings settings;
  engine::Source source;

  explicit Described(std::string_view text) {
    std::string_view rest = text;
    std::vector<std::vector<std::string>> tensors;
    while (!rest.empty()) {
      if (rest.front() == '=') {
        filling_ = rest.substr(1);
        break;
      }
      const std::size_t end = rest.find('\n');
      line(rest.substr(0, end), tensors);
      rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    }
    for (const auto& words : tensors) tensor(words);
  }

 private:
  static std::int64_t whole(const std::string& word) { return std::strtoll(word.c_str(), nullptr, 10); }

  void line(std::string_view text, std::vector<std::vector<std::string>>& tensors) {
    std::vector<std::string> words;
    while (!text.empty() && words.size() < 1100) {
      const std::size_t end = text.find(' ');
      words.emplace_back(text.substr(0, end));
      text = end == std::string_view::npos ? "" : text.substr(end + 1);
    }
    if (words.size() < 3) return;
    const std::string &kind = words[0], &name = words[1];
    if (kind == "b") settings[name] = words[2] == "1";
    if (kind == "i") settings[name] = whole(words[2]);
    if (kind == "f") settings[name] = std::strtod(words[2].c_str(), nullptr);
    if (kind == "w") settings[name] = words[2];
    if (kind == "l") {
      std::vector<double> numbers;
      for (std::size_t i = 2; i < words.size(); ++i) {
        numbers.push_back(std::strtod(words[i].c_str(), nullptr));
      }
      settings[name] = numbers;
    }
    if (kind == "m" && words.size() == 5) {
      source.matrices[name] = {static_cast<int>(whole(words[2])), words[3], words[4] == "1"};
    }
    if (kind == "t") tensors.push_back(words);
  }

  void tensor(const std::vector<std::string>& words) {
    const std::string& dtype = words[2];
    const std::int64_t width = dtype == "U64" ? 8 : dtype == "F32" ? 4 : dtype == "F16" ? 2 : 1;
    engine::Shape shape;
    std::int64_t bytes = width;
    for (std::size_t i = 3; i < words.size(); ++i) {
      shape.push_back(whole(words[i]));
      if (shape.back() < 1 || shape.size() > 4 || bytes > kMostBytes / shape.back()) return;
      bytes *= shape.back();
    }
    if (bytes > left_) return;
    left_ -= bytes;
    // Aligned to an element and to no more, as in a file.
    auto* memory = static_cast<char*>(std::malloc(static_cast<std::size_t>(bytes + width)));
    memory_.emplace_back(memory);
    fill(memory + width, bytes, dtype, words[1]);
    source.tensors[words[1]] = {memory + width, dtype, shape};
  }

  // What the fuzzer gave, or numbers that a sound model could have.
  void fill(char* to, std::int64_t bytes, const std::string& dtype, const std::string& name) const {
    std::uint64_t state = 0x9E3779B97F4A7C15U + std::hash<std::string>{}(name);
    for (std::int64_t i = 0; i < bytes; ++i) {
      if (!filling_.empty()) {
        to[i] = filling_[static_cast<std::size_t>(i) % filling_.size()];
        continue;
      }
      state = state * 6364136223846793005U + 1442695040888963407U;
      to[i] = static_cast<char>(state >> 56);
      const bool top = (dtype == "F32" && i % 4 == 3) || (dtype == "F16" && i % 2 == 1);
      if (top) to[i] = 0x3C;  // between .007 and 2, and above 0
      if (dtype == "U64" && i % 16 < 8) to[i] = 0;  // no +1, which would have to be "not zero" too
    }
  }

  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::string_view filling_;
  std::int64_t left_ = kMostBytes;
  std::vector<std::unique_ptr<char, Free>> memory_;
};

}  // namespace goose::fuzz
