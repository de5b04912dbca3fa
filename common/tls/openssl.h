// openssl.h - owners of OpenSSL's objects and what its error queue says. For common/tls itself.

#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace postern::tls {

template <auto kFree>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using SslPtr = std::unique_ptr<SSL, Freed<SSL_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using SslSessionPtr = std::unique_ptr<SSL_SESSION, Freed<SSL_SESSION_free>>;
using X509Ptr = std::unique_ptr<X509, Freed<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free_all>>;

// Before anything else of the library: OpenSSL's own configuration file is not read, since most of
// our processes open no file, and all that it could say is in main.cf. Cheap when done already.
void init_library();

// A BIO that reads the bytes, which outlive it.
[[nodiscard]] BioPtr read_memory(std::string_view bytes);

// What the library has to say since ERR_clear_error(), one text an error, oldest first; the queue
// is empty afterwards: "error:0A00010B:SSL routines::wrong version number:file.c:354:".
[[nodiscard]] std::vector<std::string> take_library_errors();
// The reason of the first one ("wrong version number"); the queue is empty afterwards.
[[nodiscard]] std::string take_library_reason();

// Callbacks that a Context registers; they find the session (session.cpp) by the SSL.
int judge_chain_later(int is_good, X509_STORE_CTX* store);
int look_at_hello(SSL* ssl, int* alert, void* unused);
int keep_session(SSL* ssl, SSL_SESSION* session);
// Whether the client named a host that has a certificate of its own.
[[nodiscard]] bool has_named_identity(const SSL* ssl);

}  // namespace postern::tls
