// folder.h - a directory of its own for one test, gone afterwards with all that is in it.

#pragma once

#include <stdlib.h>

#include <cassert>
#include <filesystem>
#include <fstream>
#include <string>

namespace postern {

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / "postern-test-XXXXXX") {
    const char* const made = ::mkdtemp(path_.data());
    assert(made != nullptr);
    static_cast<void>(made);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  // Makes a file, and the directories above it; returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = *this / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file;
  }

 private:
  std::string path_;
};

}  // namespace postern
