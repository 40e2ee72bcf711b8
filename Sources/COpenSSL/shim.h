// OpenSSL's macros as functions that Swift can call.
#ifndef SLUICE_COPENSSL_H
#define SLUICE_COPENSSL_H

// EVP looks its algorithm up each time, which costs more than hashing a key does.
#define OPENSSL_SUPPRESS_DEPRECATED

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline long openssl_set_min_proto_version(SSL_CTX *context, int version) {
    return SSL_CTX_set_min_proto_version(context, version);
}
static inline long openssl_set_mode(SSL_CTX *context, long mode) {
    return SSL_CTX_set_mode(context, mode);
}
static inline long openssl_set_server_name(SSL *ssl, const char *name) {
    return SSL_set_tlsext_host_name(ssl, name);
}
static inline long openssl_add_chain_certificate(SSL_CTX *context, X509 *certificate) {
    return SSL_CTX_add_extra_chain_cert(context, certificate);
}
static inline long openssl_set_groups(SSL_CTX *context, const char *names) {
    return SSL_CTX_set1_groups_list(context, names);
}
static inline long openssl_set_session_cache_mode(SSL_CTX *context, long mode) {
    return SSL_CTX_set_session_cache_mode(context, mode);
}
static inline long openssl_set_ticket_keys(SSL_CTX *context, const void *keys, long length) {
    return SSL_CTX_set_tlsext_ticket_keys(context, (void *)keys, length);
}
static inline void openssl_set_owner(SSL *ssl, void *owner) { SSL_set_app_data(ssl, owner); }
static inline void *openssl_owner(const SSL *ssl) { return SSL_get_app_data(ssl); }
static inline long openssl_bio_pending(BIO *bio) { return BIO_pending(bio); }
static inline long openssl_bio_set_end_of_file(BIO *bio, long value) {
    return BIO_set_mem_eof_return(bio, value);
}
// The digest of a prefix and what follows it.
static inline void openssl_sha256(
    const void *prefix, size_t prefix_count, const void *bytes, size_t count,
    unsigned char *digest) {
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, prefix, prefix_count);
    SHA256_Update(&context, bytes, count);
    SHA256_Final(digest, &context);
}
static const uint64_t openssl_op_no_compression = SSL_OP_NO_COMPRESSION;
static const uint64_t openssl_op_no_renegotiation = SSL_OP_NO_RENEGOTIATION;
static const uint64_t openssl_op_ignore_unexpected_eof = SSL_OP_IGNORE_UNEXPECTED_EOF;
static const uint64_t openssl_op_server_preference =
    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
static const unsigned long openssl_name_format = XN_FLAG_RFC2253;

#endif
