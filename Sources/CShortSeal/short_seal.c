#include "CShortSeal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/modes.h>
#include <string.h>

enum {
    BLOCK_BYTES = 16,
    NONCE_BYTES = 12,
    /// The text's, and the one that the tag is masked with.
    BLOCKS_MAX = CAIRN_SHORT_SEAL_MAX / BLOCK_BYTES + 1
};

struct cairn_short_seal {
    EVP_CIPHER_CTX *cipher;
    GCM128_CONTEXT *mode;
    /// How many of `blocks` GCM has taken.
    size_t taken;
    /// Encrypted counters, in the order in which GCM asks for them.
    uint8_t blocks[BLOCKS_MAX * BLOCK_BYTES];
};

/// GCM's block cipher: the next counter, which was encrypted before.
static void take_block(const unsigned char in[BLOCK_BYTES], unsigned char out[BLOCK_BYTES], const void *key) {
    struct cairn_short_seal *seal = (struct cairn_short_seal *)key;
    (void)in;
    memcpy(out, seal->blocks + BLOCK_BYTES * seal->taken, BLOCK_BYTES);
    seal->taken += 1;
}

/// GCM's counter mode: `count` whole blocks of text under as many counters.
static void take_blocks(
    const unsigned char *in, unsigned char *out, size_t count, const void *key, const unsigned char counter[BLOCK_BYTES]) {
    struct cairn_short_seal *seal = (struct cairn_short_seal *)key;
    const uint8_t *mask = seal->blocks + BLOCK_BYTES * seal->taken;
    (void)counter;
    for (size_t i = 0; i < count * BLOCK_BYTES; i += 8) {
        uint64_t word, bits;
        memcpy(&word, in + i, 8);
        memcpy(&bits, mask + i, 8);
        word ^= bits;
        memcpy(out + i, &word, 8);
    }
    seal->taken += count;
}

/// Makes `count` counters of `nonce`, from 1 on as GCM numbers them, and encrypts them.
static int encrypt_counters(struct cairn_short_seal *seal, const uint8_t nonce[NONCE_BYTES], size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *block = seal->blocks + BLOCK_BYTES * i;
        memcpy(block, nonce, NONCE_BYTES);
        block[12] = 0;
        block[13] = 0;
        block[14] = (uint8_t)((i + 1) >> 8);
        block[15] = (uint8_t)(i + 1);
    }
    int produced = 0, wanted = (int)(count * BLOCK_BYTES);
    seal->taken = 0;
    return EVP_EncryptUpdate(seal->cipher, seal->blocks, &produced, seal->blocks, wanted) == 1 && produced == wanted;
}

struct cairn_short_seal *cairn_short_seal_new(const uint8_t key[32]) {
    struct cairn_short_seal *seal = OPENSSL_zalloc(sizeof *seal);
    if (seal == NULL) return NULL;
    seal->cipher = EVP_CIPHER_CTX_new();
    int produced = 0;
    // GCM's hash key is the encrypted block of zeros, which it asks for when it is made.
    if (seal->cipher != NULL && EVP_EncryptInit_ex(seal->cipher, EVP_aes_256_ecb(), NULL, key, NULL) == 1
        && EVP_CIPHER_CTX_set_padding(seal->cipher, 0) == 1
        && EVP_EncryptUpdate(seal->cipher, seal->blocks, &produced, seal->blocks, BLOCK_BYTES) == 1
        && produced == BLOCK_BYTES)
        seal->mode = CRYPTO_gcm128_new(seal, take_block);
    if (seal->mode == NULL) {
        cairn_short_seal_free(seal);
        return NULL;
    }
    return seal;
}

void cairn_short_seal_free(struct cairn_short_seal *seal) {
    if (seal->mode != NULL) CRYPTO_gcm128_release(seal->mode);
    EVP_CIPHER_CTX_free(seal->cipher);
    OPENSSL_clear_free(seal, sizeof *seal);
}

int cairn_short_seal_apply(
    struct cairn_short_seal *seal, uint8_t *text, size_t count, const uint8_t nonce[NONCE_BYTES], uint8_t tag[16]) {
    if (count > CAIRN_SHORT_SEAL_MAX) return 0;
    if (!encrypt_counters(seal, nonce, 1 + (count + BLOCK_BYTES - 1) / BLOCK_BYTES)) return 0;
    CRYPTO_gcm128_setiv(seal->mode, nonce, NONCE_BYTES);
    if (CRYPTO_gcm128_encrypt_ctr32(seal->mode, text, text, count, take_blocks) != 0) return 0;
    CRYPTO_gcm128_tag(seal->mode, tag, 16);
    return 1;
}
