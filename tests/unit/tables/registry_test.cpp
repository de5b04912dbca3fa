#include "tables/registry.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "common/config/snapshot.h"
#include "common/loop/loop.h"
#include "tests/support/folder.h"

namespace postern::tables {

namespace {

// Replaced by a rename, as postmap does.
void replace(const Folder& folder, const std::string& name, const std::string& text) {
  std::filesystem::rename(folder.write(name + ".new", text), folder / name);
}

config::Values with_alias_maps(const std::string& tables) {
  auto snapshot = std::make_shared<config::Snapshot>();
  snapshot->config_directory = "/c";
  snapshot->settings =
      config::parse_main_cf("virtual_alias_maps = " + tables + "\nalias_maps =\n", "/c/main.cf")
          .settings;
  snapshot->index();
  config::Problems ignored;
  config::complete_snapshot(*snapshot, ignored);
  return config::Values(snapshot);
}

std::string find(Registry& registry, const std::string& table, const std::string& key) {
  auto hit = registry.find_key({table}, key, false);
  if (!hit) return "error: " + hit.error().text;
  return *hit ? (*hit)->value : "(none)";
}

}  // namespace

TEST_CASE("a table that is replaced between its opening and the watch over it is read again") {
  loop::Loop loop;
  const Folder folder;
  const std::string table = "texthash:" + folder / "virtual";
  replace(folder, "virtual", "who old\n");
  Registry registry;
  registry.open_all(with_alias_maps(table));
  CHECK(find(registry, table, "who") == "old");
  const auto before = registry.generation().value();

  replace(folder, "virtual", "who new\n");
  registry.watch();
  CHECK(find(registry, table, "who") == "new");
  CHECK(registry.generation().value() > before);
}

TEST_CASE("a table that is missing at the start is found when it is there, and seen to change") {
  loop::Loop loop;
  const Folder folder;
  const std::string table = "texthash:" + folder / "virtual";
  Registry registry;
  registry.open_all(with_alias_maps(table));
  registry.watch();
  CHECK(find(registry, table, "who").starts_with("error: "));

  replace(folder, "virtual", "who old\n");
  CHECK(find(registry, table, "who") == "old");
  replace(folder, "virtual", "who new\n");
  loop::CallbackTimer end([&] { loop.stop(); });
  end.arm(loop::Clock::now());
  loop.run();
  CHECK(find(registry, table, "who") == "new");
}

}  // namespace postern::tables
