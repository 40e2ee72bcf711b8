// OpenSSL's macros as functions that Swift can call.
#ifndef SLUICE_COPENSSL_H
#define SLUICE_COPENSSL_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
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
static inline long openssl_bio_pending(BIO *bio) { return BIO_pending(bio); }
static inline long openssl_bio_set_end_of_file(BIO *bio, long value) {
    return BIO_set_mem_eof_return(bio, value);
}
static const uint64_t openssl_op_no_compression = SSL_OP_NO_COMPRESSION;
static const uint64_t openssl_op_no_renegotiation = SSL_OP_NO_RENEGOTIATION;
static const uint64_t openssl_op_ignore_unexpected_eof = SSL_OP_IGNORE_UNEXPECTED_EOF;

#endif
