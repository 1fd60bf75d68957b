#ifndef CSHORTSEAL_H
#define CSHORTSEAL_H

#include <stddef.h>
#include <stdint.h>

/// AES-256-GCM (NIST SP 800-38D) of short texts under one key, with nothing but a nonce beside the text.
///
/// The result is what libcrypto's EVP_aes_256_gcm makes, at half the cost for a text of a hundred bytes: starting, finishing
/// and asking for the tag cost EVP more than the cipher itself (OpenSSL 3.0 compares some twenty parameter names for each
/// text). Here all blocks that a text needs are encrypted by one call into EVP, and libcrypto's own GCM mode, which takes
/// any block cipher, finds them done. So cipher and authentication are libcrypto's; only the counters are made here.
struct cairn_short_seal;

/// Texts up to this length; longer ones are faster in EVP's own way.
#define CAIRN_SHORT_SEAL_MAX 1024

/// Null if libcrypto has no memory or no AES-256.
struct cairn_short_seal *_Nullable cairn_short_seal_new(const uint8_t key[_Nonnull 32]);
void cairn_short_seal_free(struct cairn_short_seal *_Nonnull seal);

/// Seals `text` in place and puts the 16 bytes of the tag to `tag`. One thread at a time.
///
/// Returns 1, or 0 if `count` is above the limit or libcrypto fails.
int cairn_short_seal_apply(
    struct cairn_short_seal *_Nonnull seal, uint8_t *_Nonnull text, size_t count, const uint8_t nonce[_Nonnull 12],
    uint8_t tag[_Nonnull 16]);

#endif
