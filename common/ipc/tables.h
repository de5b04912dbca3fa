// tables.h - what processes that open no table ask the `tables` service (private/rewrite).
//
// Questions are whole: one request is "first hit of these keys in these tables", "everything about
// this recipient", "the final recipients behind this address". A table that cannot be read answers
// with an error (kTemporary), never with "not found".

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::tables {

struct Key {
  std::string text;
  // A part of what is looked up (a parent domain, an address without its extension): tables of
  // patterns do not see it.
  bool is_partial = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("text", self.text);
    field("is_partial", self.is_partial);
  }
};

struct Found {
  bool is_found = false;
  std::int64_t table = 0;  // indices into the request
  std::int64_t key = 0;
  std::string value;
  std::uint64_t generation = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_found", self.is_found);
    field("table", self.table);
    field("key", self.key);
    field("value", self.value);
    field("generation", self.generation);
  }
};

// Each key in turn is looked up in each table in turn; the first hit is the answer.
struct Lookup {
  static constexpr std::uint16_t kType = 0x0201;
  static constexpr bool kRepeatable = true;
  using Reply = Found;
  std::vector<std::string> tables;  // "type:name", only such as main.cf or master.cf name
  std::vector<Key> keys;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("tables", self.tables);
    field("keys", self.keys);
  }
};

// The address classes of ADDRESS_CLASS_README.
enum class AddressClass : char {
  kNone = 0,
  kLocal = 'l',
  kVirtualAlias = 'a',
  kVirtualMailbox = 'v',
  kRelay = 'r',
  kDefault = 'd',
};

enum class Existence : std::uint8_t {
  kNotAsked = 0,
  kKnown = 1,
  kUnknown = 2,    // the class has a list of recipients and this is not on it
  kUnchecked = 3,  // the class has no list (local_recipient_maps is empty, ...)
  kError = 4,      // a table could not be read: temporary
};

struct Resolved {
  std::string address;  // rewritten to its canonical form (internal, unquoted)
  AddressClass address_class = AddressClass::kNone;
  std::string transport;  // master.cf name
  std::string nexthop;    // as the agent gets it: domain, [host]:port, a text for error
  std::string recipient;  // the address as the agent gets it
  Existence existence = Existence::kNotAsked;
  // A form that names another destination inside the local part (percent, bang, quoted @): never
  // relayed for strangers, reject_unauth_destination.
  bool has_sender_routing = false;
  bool is_valid = true;            // false: the address is no address; `error` says why
  std::string error;               // text for existence == kError or !is_valid
  std::string relocated;           // the relocated_maps text, when that is why it is unknown
  bool is_virtual_alias = false;   // virtual_alias_maps has a result for it
  bool depends_on_sender = false;  // an answer for this sender alone
  std::uint64_t generation = 0;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("address", self.address);
    field("class", self.address_class);
    field("transport", self.transport);
    field("nexthop", self.nexthop);
    field("recipient", self.recipient);
    field("existence", self.existence);
    field("has_sender_routing", self.has_sender_routing);
    field("is_valid", self.is_valid);
    field("error", self.error);
    field("relocated", self.relocated);
    field("is_virtual_alias", self.is_virtual_alias);
    field("depends_on_sender", self.depends_on_sender);
    field("generation", self.generation);
  }
};

// Rewrites and resolves one address (trivial-rewrite(8)), and says whether it exists.
struct Resolve {
  static constexpr std::uint16_t kType = 0x0202;
  static constexpr bool kRepeatable = true;
  using Reply = Resolved;
  std::string sender;            // for sender-dependent routing; may be empty
  std::string address;           // internal form
  bool is_local_context = true;  // local_header_rewrite_clients and `sendmail`: append origin
  bool check_existence = false;
  bool is_for_probe = false;  // the address_verify_* transports
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("sender", self.sender);
    field("address", self.address);
    field("is_local_context", self.is_local_context);
    field("check_existence", self.check_existence);
    field("is_for_probe", self.is_for_probe);
  }
};

struct Expanded {
  std::vector<Resolved> recipients;  // each rewritten and resolved; the address itself if no alias
  bool is_aliased = false;
  std::string error;  // not empty: aliases without end, or too many; nothing can be sent
  bool depends_on_sender = false;
  std::uint64_t generation = 0;
  std::string canonical;         // the recipient before aliases
  std::vector<std::string> bcc;  // recipient_bcc_maps
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("recipients", self.recipients);
    field("is_aliased", self.is_aliased);
    field("error", self.error);
    field("depends_on_sender", self.depends_on_sender);
    field("generation", self.generation);
    field("canonical", self.canonical);
    field("bcc", self.bcc);
  }
};

// The final recipients behind one envelope recipient: canonical_maps and kin, masquerading, then
// virtual_alias_maps with their recursion and expansion limits.
struct Expand {
  static constexpr std::uint16_t kType = 0x0203;
  static constexpr bool kRepeatable = true;
  using Reply = Expanded;
  std::string sender;
  std::string address;
  bool is_local_context = true;
  bool skip_aliases = false;  // receive_override_options = no_address_mappings
  bool is_for_probe = false;
  std::string service;  // the master.cf line whose -o values count; empty: main.cf
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("sender", self.sender);
    field("address", self.address);
    field("is_local_context", self.is_local_context);
    field("skip_aliases", self.skip_aliases);
    field("is_for_probe", self.is_for_probe);
    field("service", self.service);
  }
};

// Where an address stands: canonical_classes and masquerade_classes choose by it.
enum class AddressRole : char {
  kNone = 0,
  kEnvelopeSender = 's',
  kEnvelopeRecipient = 'r',
  kHeaderSender = 'S',
  kHeaderRecipient = 'R',
  kGeneric = 'g',  // smtp_generic_maps, on the way out
};

struct MapItem {
  std::string address;  // internal form, rewritten
  AddressRole role = AddressRole::kNone;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("address", self.address);
    field("role", self.role);
  }
};

struct Mapped {
  std::vector<std::string> addresses;   // in the order of the question
  std::vector<std::string> sender_bcc;  // sender_bcc_maps, for the envelope's sender
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("addresses", self.addresses);
    field("sender_bcc", self.sender_bcc);
  }
  std::uint64_t generation = 0;  // stays here: such answers are not kept
};

// canonical_maps and kin and masquerading (or the generic maps) for the addresses of one message.
struct Map {
  static constexpr std::uint16_t kType = 0x0205;
  static constexpr bool kRepeatable = true;
  using Reply = Mapped;
  std::vector<MapItem> items;
  std::string service;
  std::vector<std::string> generic_maps;  // for kGeneric
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("items", self.items);
    field("service", self.service);
    field("generic_maps", self.generic_maps);
  }
};

// Many keys at once, each in the tables of its list: headers and body lines against patterns.
struct CheckKey {
  std::string text;
  std::int64_t list = 0;  // index into Check::lists
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("text", self.text);
    field("list", self.list);
  }
};

struct CheckList {
  std::vector<std::string> tables;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("tables", self.tables);
  }
};

struct CheckHit {
  std::int64_t key = 0;  // index into Check::keys
  std::string value;
  std::string table;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("key", self.key);
    field("value", self.value);
    field("table", self.table);
  }
};

struct Checked {
  std::vector<CheckHit> hits;  // in the order of the keys
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("hits", self.hits);
  }
  std::uint64_t generation = 0;  // stays here
};

struct Check {
  static constexpr std::uint16_t kType = 0x0206;
  static constexpr bool kRepeatable = true;
  using Reply = Checked;
  std::vector<CheckList> lists;
  std::vector<CheckKey> keys;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("lists", self.lists);
    field("keys", self.keys);
  }
};

struct AnchorText {
  std::string pem;  // certificates and public keys only
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("pem", self.pem);
  }
  std::uint64_t generation = 0;  // stays here
};

// The file that the entry for these keys in smtp_tls_policy_maps names with tafile=. An entry says
// which file is meant, never the one who asks.
struct FindAnchors {
  static constexpr std::uint16_t kType = 0x0209;
  static constexpr bool kRepeatable = true;
  using Reply = AnchorText;
  std::vector<std::string> tables;
  std::vector<Key> keys;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("tables", self.tables);
    field("keys", self.keys);
  }
};

// tables to its peers, with each connection: a descriptor of a page that holds the generation
// number (a uint64 at offset 0, mapped read-only). It grows whenever a table has changed; an answer
// may be kept as long as its generation stands.
struct Generation {
  static constexpr std::uint16_t kType = 0x0204;
  template <typename Self, typename Fields>
  static void fields(Self&, Fields&) {}
};

}  // namespace postern::ipc::tables
